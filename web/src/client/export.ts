/**
 * Tells a complete export from one that was cut on its way.
 *
 * A proxy may make a complete answer of a broken one (Caddy 2.6 does), so the connection says nothing. The export has
 * a mark at its end: NDJSON and CSV a last record with the number of events, Parquet its footer.
 */

import { QueryError } from "../data/error.ts";

export type ExportFormat = "ndjson" | "csv" | "parquet";

/** What each event has once, as bytes: the end of its line. A quote within a CSV text is doubled, so it has no such end. */
const EVENT_ENDS = { ndjson: "\n", csv: 'Z"\r\n' };
const RECORDS = {
  ndjson: /(?:^|\n)\{"nealyticsExport":\{"end":true,"events":(\d+)\}\}\n$/,
  csv: /(?:^|\n)"nealyticsExport\.end","(\d+)",*\r\n$/,
};
const PARQUET_END = "PAR1";
/** Longer than any last record. */
const TAIL_BYTES = 256;

/** The pieces of an export, without its last record. Throws `export_cut` in place of an end that is none. */
export async function* checked(body: ReadableStream<Uint8Array>, format: ExportFormat, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  const counter = new Counter(format === "parquet" ? "" : EVENT_ENDS[format]);
  let tail: Uint8Array = new Uint8Array();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      counter.feed(value);
      const all = joined(tail, value);
      const ready = Math.max(0, all.length - TAIL_BYTES);
      tail = all.slice(ready);
      if (ready > 0) yield all.subarray(0, ready);
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    throw cut(`the connection broke: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    reader.cancel().catch(() => {}); // not awaited: Deno waits for the end of the connection there
  }
  yield ended(tail, format, counter.count);
}

/** The tail of a complete export without the record. */
function ended(tail: Uint8Array, format: ExportFormat, count: number): Uint8Array {
  const text = latin1(tail);
  if (format === "parquet") {
    if (!text.endsWith(PARQUET_END)) throw cut("the file has no footer");
    return tail;
  }
  const record = RECORDS[format].exec(text);
  if (!record) throw cut("its last record is missing");
  // The record of NDJSON ends as an event does.
  const events = format === "ndjson" ? count - 1 : count;
  if (events !== Number(record[1])) throw cut(`it says that it has ${record[1]} events, and ${events} came`);
  const start = record.index + (record[0].startsWith("\n") ? 1 : 0);
  return tail.subarray(0, start);
}

function cut(why: string): QueryError {
  return new QueryError("export_cut", `the export is not complete: ${why}. Ask for it again`);
}

/** Counts a text whose first character occurs in it once. */
class Counter {
  count = 0;
  #matched = 0;
  readonly #bytes: readonly number[];

  constructor(text: string) {
    this.#bytes = [...text].map((char) => char.charCodeAt(0));
  }

  feed(piece: Uint8Array): void {
    const bytes = this.#bytes;
    if (bytes.length === 0) return;
    let matched = this.#matched;
    for (const byte of piece) {
      matched = byte === bytes[matched] ? matched + 1 : byte === bytes[0] ? 1 : 0;
      if (matched < bytes.length) continue;
      this.count += 1;
      matched = 0;
    }
    this.#matched = matched;
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  const all = new Uint8Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all;
}

/** Each byte as one character, so that none is lost at a cut in the middle of one. */
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** As a stream, for a file, a `Response` or a download. */
export function streamed(pieces: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return(undefined);
    },
  });
}

/** The lines of a text in UTF-8. */
export async function* lines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of pieces) {
    const found = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = found.pop() as string;
    yield* found;
  }
}
