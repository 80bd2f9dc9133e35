/**
 * New events as they are committed, as an async iterable that goes on after every break.
 *
 * Promises: no event is left out between the start and the end of the loop, across restarts of the node, breaks of the
 * network and ends of tokens; none is repeated within `SEEN_MAX` events. What the node can no longer give (a break of
 * more than a day) is told to `onGap`, or thrown where there is none. A `getToken` that fails ends the loop only before
 * the first connection: later it counts as a break, since it may need the same network as the stream.
 */

import { QueryError } from "../data/error.ts";
import { messages } from "../data/sse.ts";
import { backOffMs, isTransient, wait } from "./retry.ts";
import type { LiveEvent } from "./types.ts";

/** From when to when, by the time of storing, events are left out: an export has them. */
export interface Gap {
  readonly from: string;
  readonly to: string;
}

export interface LiveOptions {
  readonly signal?: AbortSignal | undefined;
  /** Go on behind this one: the `lastEventId` of an earlier stream. */
  readonly lastEventId?: string | undefined;
  readonly onGap?: ((gap: Gap) => void) | undefined;
  /** The stream begins, or has broken and will be taken up again. */
  readonly onState?: ((state: "connected" | "reconnecting", error?: QueryError) => void) | undefined;
  /** A connection on which nothing comes for so long is given up; default 60 s. The node sends a sign of life every 15. */
  readonly idleTimeoutMs?: number | undefined;
}

const SEEN_MAX = 10_000;
const RETRY_MS = 2_000;
const IDLE_TIMEOUT_MS = 60_000;

/** Opens the stream behind a message. */
export type Opens = (lastEventId: string | undefined, signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>;

export class LiveEvents implements AsyncIterable<LiveEvent> {
  /** Of the last message: with it another stream goes on from here, also in another process. */
  lastEventId: string | undefined;

  constructor(
    private readonly opens: Opens,
    private readonly expireToken: () => void,
    private readonly options: LiveOptions,
  ) {
    this.lastEventId = options.lastEventId;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<LiveEvent> {
    const { signal, onState } = this.options;
    const seen = new Set<string>();
    let failures = 0;
    let retryMs = RETRY_MS;
    let wasConnected = false;
    while (!signal?.aborted) {
      const connection = new Connection(signal, this.options.idleTimeoutMs ?? IDLE_TIMEOUT_MS);
      let problem: QueryError | undefined;
      let expired = false;
      try {
        const body = await this.opens(this.lastEventId, connection.signal);
        onState?.("connected");
        wasConnected = true;
        failures = 0;
        for await (const { id, event, data, retry } of messages(body, connection.signal)) {
          connection.alive();
          retryMs = Number(retry) || retryMs;
          if (event === "end") {
            expired = true;
            break;
          }
          if (event === "gap") this.#gap(data ?? "{}");
          else if (event === undefined && data !== undefined) {
            const found = JSON.parse(data) as LiveEvent;
            if (isNew(seen, found.eventId)) {
              this.lastEventId = id ?? this.lastEventId;
              yield found;
            }
          }
          this.lastEventId = id ?? this.lastEventId;
        }
      } catch (error) {
        if (signal?.aborted) return;
        const idle = connection.signal.aborted; // then whatever was under way has failed for that
        const passing = error instanceof QueryError && (isTransient(error) || (wasConnected && error.code === "token_failed"));
        if (!idle && !passing) throw error;
        problem = error instanceof QueryError ? error : new QueryError("offline", "nothing came for too long");
      } finally {
        connection.close();
      }
      if (signal?.aborted) return;
      onState?.("reconnecting", problem);
      if (expired) this.expireToken(); // another token is there at once
      else await wait(backOffMs(problem ? failures++ : 0, problem, retryMs), signal).catch(() => {});
    }
  }

  #gap(data: string): void {
    const gap = JSON.parse(data) as Gap;
    if (!this.options.onGap) {
      throw new QueryError("gap", `events from ${gap.from} to ${gap.to} are left out of the stream; an export has them, and onGap lets the stream go on`);
    }
    this.options.onGap(gap);
  }
}

function isNew(seen: Set<string>, eventId: string): boolean {
  if (seen.has(eventId)) return false;
  seen.add(eventId);
  if (seen.size > SEEN_MAX) seen.delete(seen.values().next().value as string);
  return true;
}

/** Ends with the caller's signal, and when nothing comes: a lost connection may look like a quiet one. */
class Connection {
  readonly #abort = new AbortController();
  readonly #end = (): void => this.#abort.abort();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly outer: AbortSignal | undefined,
    private readonly idleMs: number,
  ) {
    outer?.addEventListener("abort", this.#end);
    this.alive();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  alive(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#end, this.idleMs);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.outer?.removeEventListener("abort", this.#end);
    this.#abort.abort();
  }
}
