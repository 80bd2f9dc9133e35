/** `<nealytics-query>`: the rows of a saved query, as a table. Its parameters are the page's, and those of `params`. */

import { css, html, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import { Card } from "./base.ts";
import type { Table } from "./dom.ts";

interface Column {
  readonly name: string;
  readonly type: string;
}
interface Answer {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

const NUMBER = /^(?:Nullable\()?(?:U?Int|Float|Decimal)/;
const SCALE = /Decimal\(\d+, (\d+)\)/;
const DATE = /^(?:Nullable\()?Date(?:32)?\)?$/;
const TIME = /^(?:Nullable\()?DateTime/;

function paramsOf(text: string | null): unknown {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    console.error(`nealytics: params is ${text}; write JSON, such as {"plan": "pro"}`);
    return undefined;
  }
}

export class NealyticsQuery extends Card {
  static override properties = { query: {}, params: { converter: paramsOf } };
  declare query: string;
  /** Values of its parameters, by name; as an attribute in JSON. `from`, `to` and `tz` are those of the page. */
  declare params: Readonly<Record<string, unknown>> | undefined;

  static override styles = [
    ...Card.styles,
    css`
      .block {
        height: 240px;
      }
      .scroll {
        position: relative; /* or it does not clip the text for screen readers */
        max-height: 420px;
        overflow: auto;
        overscroll-behavior-x: contain;
        scrollbar-width: thin;
      }
      table {
        width: 100%;
        border-collapse: collapse;
        font-variant-numeric: tabular-nums;
      }
      th {
        position: sticky;
        inset-block-start: 0;
        color: var(--_muted);
        font-size: 13px;
        font-weight: 500;
      }
      [data-scrolled] th {
        background: color-mix(in oklab, var(--_sheet) 85%, transparent);
        backdrop-filter: blur(8px);
      }
      th,
      td {
        max-width: 320px;
        overflow: hidden;
        padding: 0 12px 0 0;
        text-align: start;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      th {
        padding-block-end: 6px;
      }
      td {
        height: 36px;
        border-block-start: 1px solid var(--_border);
      }
      .figure {
        text-align: end;
      }
      th:last-child,
      td:last-child {
        padding-inline-end: 0;
      }
      @media print {
        .scroll {
          max-height: none;
          overflow: visible;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.query = "";
  }

  protected override asksBy(): readonly string[] {
    return ["query", "params"];
  }

  override questions(): Record<string, Question> {
    return { query: { ...this.params, endpoint: `queries/${this.query}` } };
  }

  get #answer(): Answer | undefined {
    const { query } = this.answers as unknown as { query?: Partial<Answer> };
    return query?.columns ? (query as Answer) : undefined;
  }

  protected override defaultHeading(): string {
    return this.#answer?.title ?? this.query;
  }

  protected override isEmpty(): boolean {
    return this.#answer?.rows.length === 0;
  }

  protected override content(): TemplateResult {
    const { columns, rows } = this.answer<Answer>("query");
    const place = ({ type }: Column): string => (NUMBER.test(type) ? "figure" : "");
    return html`<div class="scroll fades" tabindex="0" role="group" aria-labelledby="title" @scroll=${this.#scrolled}><table part="table">
      <thead><tr>${columns.map((column) => html`<th scope="col" class=${place(column)}><bdi>${column.name}</bdi></th>`)}</tr></thead>
      <tbody>
        ${rows.map((row) => html`<tr>
          ${columns.map((column) => {
            const text = this.#shown(row[column.name], column);
            return html`<td class=${place(column)} title=${text}><bdi>${text}</bdi></td>`;
          })}
        </tr>`)}
      </tbody>
    </table></div>`;
  }

  readonly #scrolled = ({ currentTarget }: globalThis.Event): void => {
    (currentTarget as Element).toggleAttribute("data-scrolled", (currentTarget as Element).scrollTop !== 0);
    this.fade();
  };

  #shown(value: unknown, { type }: Column): string {
    if (value === null || value === undefined) return "–";
    if (typeof value === "number") return this.format.whole(value, Number(SCALE.exec(type)?.[1] ?? 0));
    if (typeof value !== "string") return JSON.stringify(value);
    // A date has no time zone: noon in UTC is that day nearly everywhere.
    if (DATE.test(type)) return this.format.bucket(new Date(`${value}T12:00:00Z`), "day");
    return TIME.test(type) ? this.format.bucket(new Date(value), "hour") : value;
  }

  protected override table(): Table {
    const { columns, rows } = this.answer<Answer>("query");
    return {
      head: columns.map(({ name }) => name),
      rows: rows.map((row) => columns.map(({ name }) => cellOf(row[name]))),
    };
  }
}

/** As a file has it. */
function cellOf(value: unknown): string | number {
  if (value === null || value === undefined) return "";
  return typeof value === "number" || typeof value === "string" ? value : JSON.stringify(value);
}
