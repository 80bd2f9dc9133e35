/**
 * Asks the read API: one request for all questions of a page, with a token that is always fresh.
 *
 * Promises: a token is in memory only; it is asked for again a minute before it ends (by the server's clock),
 * and once after a 401. Nothing is sent anywhere but to `base`.
 */

/** Gives a token for reading; called whenever a new one is needed. */
export type GetToken = () => string | Promise<string>;

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

/** Why there is no answer. `code` is the API's, or `offline`, `no_token`, `token_failed`. */
export class QueryError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
    readonly retryAfterS = 0,
  ) {
    super(message);
    this.name = "QueryError";
  }

  /** Whether the person has to sign in again, as far as the API can tell. */
  get needsToken(): boolean {
    return this.status === 401 || this.code === "no_token" || this.code === "token_failed";
  }
}

const REFRESH_BEFORE_MS = 60_000;

export class Client {
  getToken: GetToken | undefined;
  #token = "";
  #refreshAt = 0; // of this machine's clock
  #asking: Promise<string> | undefined;
  #skewMs = 0; // server's clock minus ours

  constructor(
    readonly base: string,
    getToken?: GetToken,
  ) {
    this.getToken = getToken;
  }

  /** The token may belong to somebody else from now on. */
  forgetToken(): void {
    this.#token = "";
    this.#asking = undefined;
  }

  /** Answers by the questions' names; a question that failed has an error in its place. */
  async ask(
    shared: Shared,
    queries: Record<string, Question>,
    signal?: AbortSignal,
  ): Promise<Record<string, Answer | QueryError>> {
    const body = JSON.stringify({ ...shared, queries });
    const headers = { "Content-Type": "application/json" };
    const response = await this.fetch("api/v1/analytics/query", { method: "POST", body, headers, signal });
    const { results } = (await response.json()) as { results: Record<string, Answer> };
    return Object.fromEntries(
      Object.entries(results).map(([name, answer]) => [name, answer["error"] ? errorOf(answer["error"]) : answer]),
    );
  }

  /** A request to the node, with the token; once more with a new token after a 401. Throws `QueryError`. */
  async fetch(path: string, init: RequestInit): Promise<Response> {
    for (let last = false; ; last = true) {
      const token = await this.token();
      const headers = { ...init.headers, Authorization: `Bearer ${token}` };
      let response: Response;
      try {
        response = await fetch(new URL(path, this.base), { ...init, headers, credentials: "omit" });
      } catch (error) {
        if (init.signal?.aborted) throw error;
        throw new QueryError("offline", error instanceof Error ? error.message : String(error));
      }
      const date = Date.parse(response.headers.get("Date") ?? "");
      if (date) this.#skewMs = date - Date.now();
      if (response.ok) return response;
      if (response.status === 401) this.#forget(token);
      if (response.status !== 401 || last) throw await errorOfResponse(response);
    }
  }

  async token(): Promise<string> {
    if (this.#token && Date.now() < this.#refreshAt) return this.#token;
    this.#asking ??= this.#askForToken().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askForToken(): Promise<string> {
    if (!this.getToken) {
      throw new QueryError("no_token", "set getToken: a function that gives a token for reading");
    }
    let token: unknown;
    try {
      token = await this.getToken();
    } catch (error) {
      throw new QueryError("token_failed", `getToken failed: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (typeof token !== "string" || token.split(".").length !== 3) {
      throw new QueryError("token_failed", "getToken did not give a token: three parts joined by dots");
    }
    this.#token = token.trim();
    const exp = claimsOf(this.#token)["exp"];
    const endsAt = typeof exp === "number" ? exp * 1000 - this.#skewMs : Number.POSITIVE_INFINITY;
    // A token of less than two minutes is used for half of its life.
    this.#refreshAt = endsAt - Math.min(REFRESH_BEFORE_MS, Math.max(0, (endsAt - Date.now()) / 2));
    return this.#token;
  }

  #forget(token: string): void {
    if (this.#token === token) this.#token = "";
  }
}

/** The claims of a token, unverified: the node verifies them. */
export function claimsOf(token: string): Record<string, unknown> {
  try {
    const part = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

interface ErrorBody {
  code?: string;
  message?: string;
  detail?: string;
}

function errorOf(body: unknown, status = 200, retryAfterS = 0): QueryError {
  const { code, message, detail } = (body ?? {}) as ErrorBody;
  return new QueryError(code ?? "http", [message ?? `status ${status}`, detail].filter(Boolean).join(". "), status, retryAfterS);
}

async function errorOfResponse(response: Response): Promise<QueryError> {
  const retryAfterS = Number(response.headers.get("Retry-After")) || 0;
  const body: unknown = await response.json().catch(() => undefined);
  return errorOf(body, response.status, retryAfterS);
}
