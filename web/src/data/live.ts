/**
 * New events as they are committed: Server-Sent Events by fetch, so that the token travels in a header.
 *
 * Promises: after any break it goes on behind the last message that it saw, so nothing is missed; an event that is
 * shown again has the `eventId` it had. It waits longer after each failure, and not at all where a token has ended.
 */

import { type Client, QueryError } from "./client.ts";
import { messages } from "./sse.ts";

export type LiveState = "connecting" | "connected" | "reconnecting" | "failed";

const RETRY_MS = 2_000;
const RETRY_MS_MAX = 30_000;

export class LiveStream {
  #abort: AbortController | undefined;
  #lastId = "";

  constructor(
    private readonly client: Client,
    private readonly onEvent: (data: string) => void,
    private readonly onState: (state: LiveState, error?: QueryError) => void,
  ) {}

  /** From the message after the last one, or from now on. */
  start(filters: readonly string[]): void {
    this.stop();
    const abort = (this.#abort = new AbortController());
    void this.#run(filters, abort.signal);
  }

  stop(): void {
    this.#abort?.abort();
    this.#abort = undefined;
  }

  async #run(filters: readonly string[], signal: AbortSignal): Promise<void> {
    let failures = 0;
    this.onState("connecting");
    while (!signal.aborted) {
      let waitMs = RETRY_MS;
      try {
        const query = new URLSearchParams(filters.map((filter) => ["filter", filter]));
        if (this.#lastId) query.set("lastEventId", this.#lastId);
        const response = await this.client.fetch(`api/v1/telemetry/live?${query}`, { signal, cache: "no-store" });
        this.onState("connected");
        failures = 0;
        if (await this.#read(response.body as ReadableStream<Uint8Array>)) waitMs = 0;
        if (signal.aborted) return;
        this.onState("reconnecting");
      } catch (error) {
        if (signal.aborted) return;
        const problem = error instanceof QueryError ? error : new QueryError("offline", String(error));
        const again = problem.code === "offline" || problem.status === 429 || problem.status >= 500;
        this.onState(again ? "reconnecting" : "failed", problem);
        if (!again) return;
        // Jitter: all pages lost the node in the same second.
        waitMs = Math.max(problem.retryAfterS * 1000, Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** failures++)) * (0.75 + Math.random() / 2);
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  /** Until the stream ends; true if its token has ended, for which another is there at once. */
  async #read(body: ReadableStream<Uint8Array>): Promise<boolean> {
    for await (const { id, event, data } of messages(body)) {
      this.#lastId = id ?? this.#lastId;
      if (event === "end") {
        this.client.expireToken();
        return true;
      }
      if (data && !event) this.onEvent(data);
    }
    return false;
  }
}
