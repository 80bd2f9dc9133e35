/** Reads Server-Sent Events out of a body, as the HTML standard cuts and names them. */

import { pieces } from "./lines.ts";

export interface Message {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
  readonly retry?: string;
}

/**
 * Each message, and an empty one for a heartbeat. Ends with the body, or throws `offline`; leaving the loop ends the
 * request. What is not ended by an empty line is no message.
 */
export async function* messages(body: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Message> {
  for await (const block of pieces(body, /\n\n/, signal)) {
    const fields: Record<string, string> = {};
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    yield fields;
  }
}
