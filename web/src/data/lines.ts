/** Reads a body by lines, as they come. */

import { QueryError } from "./error.ts";

/** Each line that is not empty, also the last one without its end. Throws `offline`. Leaving the loop ends the request. */
export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new QueryError("offline", String(error));
      });
      const found = (rest + decoder.decode(value, { stream: !done })).split("\n");
      rest = done ? "" : (found.pop() as string);
      for (const line of found) if (line) yield line;
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
