/**
 * Keeps a token that is always fresh.
 *
 * Promises: it is in memory only; it is asked for again a minute before it ends (by the server's clock), and used to
 * its end if that fails; of several that want it at once one asks; and one that was on its way when it was forgotten
 * is not used. A `getToken` that never answers fails after half a minute. `onOther` is called before the first token of another person is used.
 */

import { QueryError } from "./error.ts";

/** Gives a token for reading; called whenever a new one is needed. */
export type GetToken = () => string | Promise<string>;

const REFRESH_BEFORE_MS = 60_000;
const WAIT_MS = 30_000;
/** Of a token's claims, those that a new token of the same person changes, also those of Microsoft Entra. */
const PASSING_CLAIMS = ["exp", "iat", "nbf", "jti", "auth_time", "uti", "aio", "rh", "nonce", "at_hash"];

export class Tokens {
  #token = "";
  #takenAt = 0; // of this machine's clock
  #asking: Promise<string> | undefined;
  #skewMs = 0; // server's clock minus ours
  #owner = 0; // another number for each person it may belong to
  #claims: string | undefined; // of the person

  constructor(
    public getToken?: GetToken,
    private readonly onOther: () => void = () => {},
  ) {}

  async get(): Promise<string> {
    for (;;) {
      if (this.#token && Date.now() < this.#refreshAt) return this.#token;
      const owner = this.#owner;
      try {
        const token = await (this.#asking ??= this.#ask(owner));
        if (owner === this.#owner) return token;
      } catch (error) {
        if (owner !== this.#owner) continue;
        if (this.#token && !this.hasEnded(this.#token)) return this.#token;
        throw error;
      }
    }
  }

  /** Whether its time is over, by the server's clock. */
  hasEnded(token: string): boolean {
    return Date.now() >= this.#endOf(token);
  }

  /** This one was refused; without it, whatever there is: it may belong to somebody else from now on. */
  forget(token?: string): void {
    if (token !== undefined && token !== this.#token) return;
    this.#token = "";
    if (token !== undefined) return;
    this.#owner += 1;
    this.#asking = undefined;
    this.#claims = undefined;
  }

  /** It has ended, whatever the clock says. */
  expire(): void {
    this.#token = "";
  }

  /** Whether the token seems to open the whole project. The node decides, perhaps by claims of other names. */
  get isOfProject(): boolean {
    const { scope, tenant_id: tenant } = claimsOf(this.#token);
    return tenant === undefined && String(scope).split(" ").includes("project");
  }

  /** The `Date` of an answer. */
  saw(date: string | null): void {
    const ms = Date.parse(date ?? "");
    if (ms) this.#skewMs = ms - Date.now();
  }

  async #ask(owner: number): Promise<string> {
    try {
      const token = await this.#given();
      if (owner === this.#owner) this.#keep(token);
      return token;
    } finally {
      if (owner === this.#owner) this.#asking = undefined;
    }
  }

  async #given(): Promise<string> {
    if (!this.getToken) {
      throw new QueryError("no_token", "set getToken: a function that gives a token for reading");
    }
    let token: unknown;
    try {
      token = await within(WAIT_MS, this.getToken());
    } catch (error) {
      if (error instanceof QueryError) throw error;
      // Their sign-in may be as good as before.
      if (globalThis.navigator?.onLine === false) throw new QueryError("offline", String(error));
      const message = error instanceof Error ? error.message : String(error);
      throw new QueryError("token_failed", `getToken failed: ${message}`, refusalOf(error, message));
    }
    if (typeof token !== "string") {
      throw new QueryError("token_failed", `getToken returned ${token === null ? "null" : typeof token}; return a token: text of three parts joined by dots`);
    }
    if (!/^\s*[\w-]+\.[\w-]+\.[\w-]+\s*$/.test(token)) {
      // Its beginning tells a page of HTML from JSON; of a token it is not secret.
      const start = JSON.stringify(token.slice(0, 20));
      throw new QueryError("token_failed", `getToken returned text that begins with ${start}; return a token alone: three parts joined by dots`);
    }
    return token.trim();
  }

  /** By this machine's clock, which the answers correct. */
  get #refreshAt(): number {
    const endsAt = this.#endOf(this.#token);
    // A token of less than two minutes is used for half of its life.
    return endsAt - Math.min(REFRESH_BEFORE_MS, Math.max(0, (endsAt - this.#takenAt) / 2));
  }

  #endOf(token: string): number {
    const exp = claimsOf(token)["exp"];
    return typeof exp === "number" ? exp * 1000 - this.#skewMs : Number.POSITIVE_INFINITY;
  }

  #keep(token: string): void {
    this.#token = token;
    this.#takenAt = Date.now();
    const before = this.#claims;
    this.#claims = personOf(token);
    if (before !== undefined && before !== this.#claims) this.onOther();
  }
}

/** 401, 403 or 410 if the rejection names it, by `throw new Error(response.status)` or `error.status`; otherwise 0. */
function refusalOf(error: unknown, message: string): number {
  const status = Number((error as { status?: unknown } | null | undefined)?.status ?? message);
  return [401, 403, 410].includes(status) ? status : 0;
}

async function within<T>(ms: number, promise: T | Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new QueryError("token_failed", `getToken gave no token in ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The same for all tokens of a person. */
function personOf(token: string): string {
  const claims = Object.entries(claimsOf(token)).filter(([name]) => !PASSING_CLAIMS.includes(name));
  return claims.length > 0 ? JSON.stringify(claims.sort(([one], [other]) => (one < other ? -1 : 1))) : token;
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
