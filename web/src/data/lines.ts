/** Reads a body piece by piece, as it comes. */

import { QueryError } from "./error.ts";

/** Each line that is not empty, also the last one without its end. Throws `offline`. Leaving the loop ends the request. */
export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const rest = yield* pieces(body, /\n+/);
  if (rest) yield rest;
}

/** What stands before each `separator`; returns what is left behind the last one. Throws `offline`. */
export async function* pieces(body: ReadableStream<Uint8Array>, separator: RegExp, signal?: AbortSignal): AsyncGenerator<string, string> {
  const reader = body.getReader();
  // A request's own signal does not end a pending read in Deno.
  const leave = (): void => void reader.cancel().catch(() => {});
  signal?.addEventListener("abort", leave);
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new QueryError("offline", String(error));
      });
      const found = (rest + decoder.decode(value, { stream: !done })).split(separator);
      rest = found.pop() as string;
      yield* found.filter(Boolean);
      if (done) return rest;
    }
  } finally {
    signal?.removeEventListener("abort", leave);
    leave(); // not awaited: Deno waits for the end of the connection there
  }
}
