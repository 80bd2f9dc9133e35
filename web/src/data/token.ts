/**
 * Keeps a token that is always fresh.
 *
 * Promises: it is in memory only; it is asked for again a minute before it ends (by the server's clock); of several
 * that want it at once one asks; and one that was on its way when it was forgotten is not used.
 */

import { QueryError } from "./error.ts";

/** Gives a token for reading; called whenever a new one is needed. */
export type GetToken = () => string | Promise<string>;

const REFRESH_BEFORE_MS = 60_000;

export class Tokens {
  #token = "";
  #refreshAt = 0; // of this machine's clock
  #asking: Promise<string> | undefined;
  #skewMs = 0; // server's clock minus ours
  #owner = 0; // another number for each person it may belong to

  constructor(public getToken?: GetToken) {}

  async get(): Promise<string> {
    for (;;) {
      if (this.#token && Date.now() < this.#refreshAt) return this.#token;
      const owner = this.#owner;
      const token = await (this.#asking ??= this.#ask(owner));
      if (owner === this.#owner) return token;
    }
  }

  /** This one was refused; without it, whatever there is: it may belong to somebody else from now on. */
  forget(token?: string): void {
    if (token !== undefined && token !== this.#token) return;
    this.#token = "";
    if (token !== undefined) return;
    this.#owner += 1;
    this.#asking = undefined;
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
      token = await this.getToken();
    } catch (error) {
      if (error instanceof QueryError) throw error;
      throw new QueryError("token_failed", `getToken failed: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (typeof token !== "string" || token.trim().split(".").length !== 3) {
      throw new QueryError("token_failed", "getToken did not give a token: three parts joined by dots");
    }
    return token.trim();
  }

  #keep(token: string): void {
    this.#token = token;
    const exp = claimsOf(token)["exp"];
    const endsAt = typeof exp === "number" ? exp * 1000 - this.#skewMs : Number.POSITIVE_INFINITY;
    // A token of less than two minutes is used for half of its life.
    this.#refreshAt = endsAt - Math.min(REFRESH_BEFORE_MS, Math.max(0, (endsAt - Date.now()) / 2));
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
