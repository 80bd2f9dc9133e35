/** Why there is no answer. */

/**
 * `code` is the API's, or `offline` (no connection to the node), `no_token`, `token_failed`, `token_expired`,
 * `no_src`, `export_cut`, `gap`; or `http`: an answer that is not the API's.
 */
export class QueryError extends Error {
  /** What to do about it. */
  readonly detail: string | undefined;
  /** The parameter that is wrong. */
  readonly field: string | undefined;
  /** The name of the request in the server's log. */
  readonly requestId: string | undefined;
  /** When it is worth asking again; undefined if the server did not say. */
  readonly retryAt: Date | undefined;

  constructor(
    readonly code: string,
    message: string,
    /** Of the answer, or with `token_failed` that of the page's own server; 0 if there was none. */
    readonly status = 0,
    /** After so many seconds it is worth asking again; 0 if the server did not say. */
    readonly retryAfterS = 0,
    more: { readonly detail?: string; readonly field?: string; readonly requestId?: string } = {},
  ) {
    super(message);
    this.name = "NealyticsError";
    this.detail = more.detail;
    this.field = more.field;
    this.requestId = more.requestId;
    this.retryAt = retryAfterS ? new Date(Date.now() + retryAfterS * 1000) : undefined;
  }

  /** All elements of the page have it, so the dashboard shows it once. */
  isCommon = false;

  /** Whether the question needs another token. */
  get needsToken(): boolean {
    return this.status === 401 || this.code === "no_token" || this.code === "token_failed";
  }

  /** Whether the person has to sign in again. */
  get isSignInEnd(): boolean {
    return this.code === "token_expired" || (this.code === "token_failed" && this.status > 0);
  }

  /** Whether there will be no other token: `getToken` was rejected with 410, Gone. */
  get isLastToken(): boolean {
    return this.code === "token_failed" && this.status === 410;
  }

  /** Whether all that may be asked in a day has been asked. */
  get isQuota(): boolean {
    return this.code === "quota_exceeded";
  }

  /** Whether the node refused the question, and would refuse it again. */
  get isRefusal(): boolean {
    return this.code !== "token_failed" && this.status >= 400 && this.status < 500 && this.status !== 429;
  }

  /** Whether it is likely to be over soon: the connection, or the page's own server, failed. */
  get isPassing(): boolean {
    return this.code === "offline" || (this.code === "token_failed" && !this.isLastToken);
  }
}

interface ErrorBody {
  code?: string;
  message?: string;
  detail?: string;
  field?: string;
  requestId?: string;
}

/** Of an error as the API writes it, or of anything else that came in its place. */
export function errorOf(body: unknown, status = 200, retryAfterS = 0): QueryError {
  const error = (typeof body === "object" && body !== null ? body : {}) as ErrorBody;
  const message = [error.message ?? `status ${status}`, error.detail].filter(Boolean).join(". ");
  return new QueryError(error.code ?? "http", message, status, retryAfterS, error);
}

export async function errorOfResponse(response: Response): Promise<QueryError> {
  const body: unknown = await response.json().catch(() => undefined);
  return errorOf(body, response.status, retryAfterOf(response));
}

/** In seconds, as we write it; a proxy may write a date. */
export function retryAfterOf(response: Response): number {
  const after = response.headers.get("Retry-After") ?? "";
  return /^\d+$/.test(after) ? Number(after) : Math.max(0, (Date.parse(after) - Date.now()) / 1000) || 0;
}
