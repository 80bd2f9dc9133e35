/**
 * Asks the read API: one request for all questions of a page, with a token that is always fresh.
 *
 * Promises: a token is in memory only; it is asked for again a minute before it ends (by the server's clock),
 * and once after a 401. Nothing is sent anywhere but to `base`. `onOther` is called before the first answer that is
 * another person's or tenant's.
 */

import { errorOf, errorOfResponse, QueryError } from "./error.ts";
import { lines } from "./lines.ts";
import { type GetToken, Tokens } from "./token.ts";

export { type GetToken, QueryError };

/** Of one request, as the node accepts them. */
const QUESTIONS_MAX = 30;

/** The parameters of a GET route by their names, and which route. */
export interface Question {
  readonly endpoint: string;
  readonly [parameter: string]: unknown;
}

/** What all questions of a request share; a question's own parameters go before these. */
export interface Shared {
  readonly from: string;
  readonly to: string;
  readonly tz: string;
  readonly filter: readonly string[];
}

export type Answer = Record<string, unknown>;

/** Whose an answer is; without a tenant, all of the project's. */
export interface Owner {
  readonly projectId: string;
  readonly tenantId?: string;
}

export class Client {
  readonly #tokens: Tokens;
  /** Of the latest answer. */
  owner: Owner | undefined;

  constructor(
    public base: string,
    getToken?: GetToken,
    private readonly onOther: () => void = () => {},
  ) {
    this.#tokens = new Tokens(getToken, () => {
      this.owner = undefined;
      this.onOther();
    });
  }

  /** The token may belong to somebody else from now on. */
  forgetToken(): void {
    this.#tokens.forget();
    this.owner = undefined;
  }

  /** The node says that the token has ended. */
  expireToken(): void {
    this.#tokens.expire();
  }

  /** Gets the token of the next request, or why there is none. What it opens is known then, as far as it says so. */
  async prepare(): Promise<QueryError | undefined> {
    if (!this.base) return undefined; // which the request says
    try {
      await this.#tokens.get();
      return undefined;
    } catch (error) {
      return error as QueryError;
    }
  }

  /** Whether answers are of the whole project; before the first one, whether the token seems to say so. */
  get isOfProject(): boolean {
    return this.owner ? this.owner.tenantId === undefined : this.#tokens.isOfProject;
  }

  /** So that there is a fresh one before it is needed. Whether that fails is seen when it is. */
  renewToken(): void {
    this.#tokens.get().catch(() => {});
  }

  /**
   * Calls `receive` with answers by the questions' names as they come, the quick ones before the slow; a question
   * that failed has an error in its place. Throws `QueryError`, also after some have come.
   */
  async ask(
    shared: Shared,
    queries: Record<string, Question>,
    receive: (answers: Record<string, Answer | QueryError>) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const all = Object.entries(queries);
    const requests: Promise<void>[] = [];
    for (let first = 0; first < all.length; first += QUESTIONS_MAX) {
      requests.push(this.#askSome(shared, Object.fromEntries(all.slice(first, first + QUESTIONS_MAX)), receive, signal));
    }
    // Also after one has failed: the others bring their answers.
    for (const ended of await Promise.allSettled(requests)) if (ended.status === "rejected") throw ended.reason;
  }

  async #askSome(
    shared: Shared,
    queries: Record<string, Question>,
    receive: (answers: Record<string, Answer | QueryError>) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const body = JSON.stringify({ ...shared, queries });
    const headers = { "Content-Type": "application/json", Accept: "application/x-ndjson" };
    const response = await this.fetch("api/v1/analytics/query", { method: "POST", body, headers, signal });
    // Chromium reports a request as cancelled whose streamed body a reader has read to its end, but not this one's.
    response.clone().arrayBuffer().catch(() => {});
    // The whole answer in one line says the same: a proxy may have gathered it.
    for await (const line of lines(response.body as ReadableStream<Uint8Array>)) {
      signal.throwIfAborted();
      const { projectId, tenantId, results = {} } = JSON.parse(line) as Partial<Owner> & { results?: Record<string, Answer> };
      if (projectId !== undefined) this.#saw({ projectId, ...(tenantId !== undefined && { tenantId }) }, signal);
      const found = Object.entries(results).map(([name, answer]) => [name, answer["error"] ? errorOf(answer["error"]) : answer] as const);
      receive(Object.fromEntries(found));
    }
  }

  #saw(owner: Owner, signal: AbortSignal): void {
    const before = this.owner;
    this.owner = owner;
    if (!before || (before.projectId === owner.projectId && before.tenantId === owner.tenantId)) return;
    this.onOther();
    signal.throwIfAborted();
  }

  /** A request to the node, with the token; once more with a new token after a 401. Throws `QueryError`. */
  async fetch(path: string, init: RequestInit): Promise<Response> {
    if (!this.base) throw new QueryError("no_src", "set src: the address of the node, such as https://analytics.example.com");
    for (let last = false; ; last = true) {
      const token = await this.#tokens.get();
      init.signal?.throwIfAborted();
      const headers = { ...init.headers, Authorization: `Bearer ${token}` };
      let response: Response;
      try {
        response = await fetch(new URL(path, this.base), { ...init, headers, credentials: "omit" });
      } catch (error) {
        if (init.signal?.aborted) throw error;
        throw new QueryError("offline", error instanceof Error ? error.message : String(error));
      }
      this.#tokens.saw(response.headers.get("Date"));
      if (response.ok) return response;
      if (response.status === 401) this.#tokens.forget(token);
      if (response.status !== 401 || last) {
        const error = await errorOfResponse(response);
        const isExpired = response.status === 401 && this.#tokens.hasEnded(token);
        throw isExpired ? new QueryError("token_expired", error.message, 401, 0, error) : error;
      }
    }
  }
}
