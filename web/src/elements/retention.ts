/** `<nealytics-retention>`: who comes back, by when they came first; a table, so the numbers are the picture. */

import { css, html, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { dayOf, type Interval, plus, plusMonths } from "../data/range.ts";
import { Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";

interface Cohort {
  readonly cohort: string;
  readonly size: number;
  readonly periods: readonly Period[];
}
interface Period {
  readonly period: number;
  readonly count: number;
  readonly share: number;
  /** It is not over yet: more may come back. */
  readonly partial?: boolean;
}

const PERIODS = 8;
const LEVELS = 8;
const LEVEL_PERCENT = 6;

export class NealyticsRetention extends Card {
  static override properties = { interval: {}, cohortEvent: { attribute: "cohort-event" }, returnEvent: { attribute: "return-event" } };
  declare interval: "day" | "week" | "month";
  declare cohortEvent: string | undefined;
  declare returnEvent: string | undefined;

  static override styles = [
    ...Card.styles,
    css`
      .block {
        height: 300px;
      }
      .scroll {
        position: relative; /* or it does not clip the text for screen readers */
        max-height: 420px;
        overflow: auto;
        overscroll-behavior-x: contain;
        scrollbar-width: thin;
        margin: 0 -4px;
        padding: 0 4px 2px;
      }
      table {
        width: 100%;
        max-width: calc(200px + 110px * var(--columns));
        border-collapse: separate;
        border-spacing: 3px;
        font-variant-numeric: tabular-nums;
        font-size: 13px;
      }
      th {
        font-weight: 500;
        color: var(--_muted);
        text-align: center;
        white-space: nowrap;
        padding: 4px 6px;
      }
      th[scope="row"],
      th:first-child {
        text-align: start;
        padding-inline-start: 0;
      }
      th[scope="row"] {
        color: var(--_text);
      }
      td {
        min-width: 46px;
        height: 32px;
        padding: 0 6px;
        border-radius: var(--_small);
        text-align: center;
      }
      td.cell {
        background: color-mix(in oklab, var(--_accent) var(--level), var(--_fill));
      }
      td.full {
        color: var(--_accent-contrast);
      }
      td.partial {
        background: repeating-linear-gradient(135deg, var(--_fill) 0 3px, transparent 3px 6px);
        color: var(--_muted);
      }
      td.size {
        color: var(--_muted);
      }
      /* What the numbers scroll under. */
      th[scope="row"],
      th:first-child {
        position: sticky;
        inset-inline-start: -4px;
        z-index: 1;
      }
      thead th {
        position: sticky;
        inset-block-start: 0;
        z-index: 1;
      }
      thead th:first-child {
        z-index: 2;
      }
      [data-scrolled] th {
        background: color-mix(in oklab, var(--_sheet) 85%, transparent);
        backdrop-filter: blur(8px);
      }
      @media print {
        .scroll {
          max-height: none;
          overflow: visible;
        }
        table {
          border-spacing: 2px;
          font-size: 10px;
        }
        th,
        td {
          min-width: 0;
          padding: 0 1px;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.interval = "week";
  }

  protected override asksBy(): readonly string[] {
    return ["interval", "cohortEvent", "returnEvent"];
  }

  override questions(page: Page): Record<string, Question> {
    // A short range has no cohorts worth looking at: at least eight intervals up to its end.
    const to = dayOf(page.range.to);
    const start = this.interval === "month" ? plusMonths(to, 1 - PERIODS) : plus(to, (this.interval === "week" ? -7 : -1) * (PERIODS - 1));
    const from = start < page.range.from ? start : dayOf(page.range.from);
    const events = {
      ...(this.cohortEvent ? { cohortEvent: this.cohortEvent } : {}),
      ...(this.returnEvent ? { returnEvent: this.returnEvent } : {}),
    };
    return { retention: { endpoint: "retention", interval: this.interval, periods: PERIODS, from, ...events } };
  }

  protected override defaultHeading(): string {
    return this.format.text("retention");
  }

  protected override isEmpty(): boolean {
    return this.#cohorts.length === 0;
  }

  get #cohorts(): readonly Cohort[] {
    return this.answer<{ cohorts: Cohort[] }>("retention").cohorts.slice(-12);
  }

  protected override content(): TemplateResult {
    const f = this.format;
    const most = Math.max(0.01, ...this.#cohorts.flatMap(({ periods }) => periods.slice(1).map(({ share }) => share)));
    const columns = Math.max(...this.#cohorts.map(({ periods }) => periods.length));
    return html`<div class="scroll fades" tabindex="0" role="group" aria-label=${this.heading ?? this.defaultHeading()} @scroll=${this.#scrolled}>
      <table part="table" ${cssVar("--columns", columns)}>
        <thead><tr>
          <th scope="col">${f.text("cohort")}</th><th scope="col">${f.text("users")}</th>
          ${Array.from({ length: columns }, (_, i) => html`<th scope="col">${f.unit(i, this.interval)}</th>`)}
        </tr></thead>
        <tbody>${this.#cohorts.map((cohort) => html`<tr>
          <th scope="row">${f.tick(new Date(cohort.cohort), this.interval as Interval)}</th>
          <td class="size">${f.short(cohort.size)}</td>
          ${cohort.periods.map(({ period, share, count, partial }) => {
            if (partial && period > 0) {
              return html`<td class="cell partial" title="${f.exact(count)} ${f.text("so_far")}">${f.percent(share)}<span class="sr"> ${f.text("so_far")}</span></td>`;
            }
            // The steps end where the text is still read well in either theme; the first is the full colour.
            const level = period === 0 ? 100 : Math.ceil((share / most) * LEVELS) * LEVEL_PERCENT;
            return html`<td class="cell fill ${period === 0 ? "full" : ""}" title=${f.exact(count)} ${cssVar("--level", `${level}%`)}>${f.percent(share)}</td>`;
          })}
        </tr>`)}</tbody>
      </table>
    </div>`;
  }

  readonly #scrolled = ({ currentTarget }: globalThis.Event): void => {
    const { scrollLeft, scrollTop } = currentTarget as Element;
    (currentTarget as Element).toggleAttribute("data-scrolled", scrollLeft !== 0 || scrollTop !== 0);
    this.fade();
  };

  protected override table(): Table {
    const f = this.format;
    return {
      head: [f.text("cohort"), f.text("users"), ...Array.from({ length: PERIODS + 1 }, (_, i) => f.unit(i, this.interval))],
      rows: this.#cohorts.map(({ cohort, size, periods }) => [cohort, size, ...periods.map(({ count }) => count)]),
    };
  }
}
