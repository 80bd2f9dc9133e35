/** One call of `getToken` for all elements that need a token at once. */

import type { GetToken } from "../embed.ts";

/** A call that is older may never end: elements give up after 30 s, and then ask again. */
const JOINED_MS = 20_000;

/** A call while another is under way gets the answer of that one. Answers are not kept: the next call asks again. */
export function joined(getToken: GetToken): () => Promise<string> {
  let running: Promise<string> | undefined;
  let startedAt = 0;
  return () => {
    if (running && performance.now() - startedAt < JOINED_MS) return running;
    const call = new Promise<string>((resolve) => resolve(getToken())).finally(() => {
      if (running === call) running = undefined;
    });
    startedAt = performance.now();
    return (running = call);
  };
}
