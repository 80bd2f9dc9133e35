/** When a read is worth asking again, and after how long. */

import type { QueryError } from "../data/error.ts";

const TRANSIENT = new Set([429, 502, 503, 504]);
const FIRST_MS = 250;
const MOST_MS = 30_000;

export function isTransient(error: QueryError): boolean {
  return error.code === "offline" || TRANSIENT.has(error.status);
}

/** `firstMs`, doubled with each failure, and never less than what the server asks for. */
export function backOffMs(failures: number, error: QueryError | undefined, firstMs = FIRST_MS): number {
  const told = (error?.retryAfterS ?? 0) * 1000;
  // Jitter: all clients lost the node in the same second.
  return Math.max(told, Math.min(Math.max(MOST_MS, firstMs), firstMs * 2 ** failures) * (0.75 + Math.random() / 2));
}

/** Throws the signal's reason when it is aborted. */
export function wait(ms: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
