/**
 * New events as they are committed: Server-Sent Events by fetch, so that the token travels in a header.
 *
 * Promises: after a short break it continues behind the last message that it saw, so nothing is missed; an event that
 * is shown again has the `eventId` it had. After a break of more than a minute it starts from now (`resumed` is false):
 * whoever shows the latest events asks for those, rather than downloading all that was missed. It waits longer after
 * each failure, and not at all where a token has ended. A `getToken` that fails is such a failure too: what gives
 * the tokens may be back, though until then it looks as if the person has signed out.
 */

import { type Client, QueryError } from "./client.ts";
import { messages } from "./sse.ts";

export { QueryError };

export type LiveState = "connecting" | "connected" | "reconnecting" | "failed";

const RETRY_MS = 2_000;
const RETRY_MS_MAX = 30_000;
/** The node sends a sign of life every 15 s: a lost connection may look like a quiet one. */
const IDLE_MS = 60_000;
const RESUME_MS_MAX = 60_000;

export class LiveStream {
  #abort: AbortController | undefined;
  #lastId = "";
  #retryMs = RETRY_MS; // the node says another
  #lastAt = 0; // when the last message came
  /** Whether this connection began behind the last message, and not from now on. */
  resumed = false;

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
      let waitMs = 0;
      const connection = new AbortController();
      const end = (): void => connection.abort();
      let idle: ReturnType<typeof setTimeout> | undefined;
      const alive = (): void => {
        clearTimeout(idle);
        idle = setTimeout(end, IDLE_MS);
      };
      alive();
      signal.addEventListener("abort", end);
      try {
        const query = new URLSearchParams(filters.map((filter) => ["filter", filter]));
        this.resumed = this.#lastId !== "" && Date.now() - this.#lastAt < RESUME_MS_MAX;
        if (this.resumed) query.set("lastEventId", this.#lastId);
        else this.#lastId = "";
        const response = await this.client.fetch(`api/v1/telemetry/live?${query}`, { signal: connection.signal, cache: "no-store" });
        if (signal.aborted) return;
        this.onState("connected");
        failures = 0;
        const expired = await this.#read(response.body as ReadableStream<Uint8Array>, connection.signal, alive);
        if (signal.aborted) return;
        this.onState("reconnecting");
        if (!expired) waitMs = this.#retryMs;
      } catch (error) {
        if (signal.aborted) return;
        const problem = error instanceof QueryError ? error : new QueryError("offline", String(error));
        const isFinal = problem.isRefusal || problem.code === "no_token";
        this.onState(isFinal || problem.code === "token_failed" ? "failed" : "reconnecting", problem);
        if (isFinal) return;
        waitMs = Math.max(problem.retryAfterS * 1000, Math.min(RETRY_MS_MAX, this.#retryMs * 2 ** failures++));
      } finally {
        clearTimeout(idle);
        signal.removeEventListener("abort", end);
        connection.abort();
      }
      // Jitter: all pages lost the node in the same second.
      await new Promise((resolve) => setTimeout(resolve, waitMs * (0.75 + Math.random() / 2)));
    }
  }

  /** Until the stream ends or nothing comes for too long; true if its token has ended, for which another is there at once. */
  async #read(body: ReadableStream<Uint8Array>, signal: AbortSignal, alive: () => void): Promise<boolean> {
    for await (const { id, event, data, retry } of messages(body, signal)) {
      if (signal.aborted) return false;
      alive();
      this.#lastAt = Date.now();
      this.#lastId = id ?? this.#lastId;
      this.#retryMs = Number(retry) || this.#retryMs;
      if (event === "end") {
        this.client.expireToken();
        return true;
      }
      if (data && !event) this.onEvent(data);
    }
    return false;
  }
}
