/** Reads Server-Sent Events out of a body, as the HTML standard cuts and names them. */

import { QueryError } from "./error.ts";

export interface Message {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
  readonly retry?: string;
}

/** Each message, and an empty one for a heartbeat. Ends with the body, or throws `offline`; leaving the loop ends the request. */
export async function* messages(body: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Message> {
  const reader = body.getReader();
  // A request's own signal does not end a pending read in Deno.
  const leave = (): void => void reader.cancel().catch(() => {});
  signal?.addEventListener("abort", leave);
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw new QueryError("offline", String(error));
      });
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop() as string;
      for (const block of blocks) {
        const fields: Record<string, string> = {};
        for (const line of block.split("\n")) {
          const colon = line.indexOf(":");
          if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
        }
        yield fields;
      }
    }
  } finally {
    signal?.removeEventListener("abort", leave);
    leave(); // not awaited: Deno waits for the end of the connection there
  }
}
