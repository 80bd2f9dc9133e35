/** `<nealytics-heatmap>`: at which hours of the week things happen; a table, read aloud as one. */

import { css, html, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";

interface Cell {
  readonly weekday: number;
  readonly hour: number;
  readonly count: number;
  readonly users: number;
}

export class NealyticsHeatmap extends Card {
  static override properties = { measure: {} };
  declare measure: "events" | "users";

  static override styles = [
    ...Card.styles,
    css`
      .block {
        height: 238px;
      }
      table {
        width: 100%;
        border-collapse: separate;
        border-spacing: 2px;
        table-layout: fixed;
        font-size: 12px;
      }
      th {
        padding: 0;
        font-weight: 400;
        color: var(--_muted);
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      th[scope="row"] {
        text-align: start;
      }
      /* The first column has the names of the days. */
      thead th:first-child {
        width: calc(var(--first) + 10px);
      }
      thead th {
        text-align: start;
        overflow: visible;
      }
      td {
        height: 24px;
        padding: 0;
        border-radius: calc(var(--_radius) / 3);
        background: color-mix(in oklab, var(--_accent) var(--level), var(--_fill));
      }
      td:hover {
        box-shadow: inset 0 0 0 1.5px var(--_text);
      }
      @container (max-width: 600px) {
        table {
          border-spacing: 1px;
        }
        td {
          border-radius: calc(var(--_radius) / 6);
        }
      }
    `,
  ];

  constructor() {
    super();
    this.measure = "events";
  }

  override questions(_page: Page): Record<string, Question> {
    return { heatmap: { endpoint: "heatmap" } };
  }

  protected override defaultHeading(): string {
    return this.format.text("heatmap");
  }

  get #cells(): readonly Cell[] {
    return this.answer<{ cells: Cell[] }>("heatmap").cells;
  }

  #value(cell: Cell): number {
    return this.measure === "users" ? cell.users : cell.count;
  }

  protected override isEmpty(): boolean {
    return !this.#cells.some(({ count }) => count > 0);
  }

  protected override content(): TemplateResult {
    const f = this.format;
    const most = Math.max(...this.#cells.map((cell) => this.#value(cell)), 1);
    const hours = Array.from({ length: 24 }, (_, hour) => hour);
    const longest = Math.max(...WEEKDAYS.map((weekday) => f.weekday(weekday).length));
    return html`<table part="table" ${cssVar("--first", `${longest}ch`)}>
      <thead><tr>
        <th scope="col"><span class="sr">${f.text("weekday")}</span></th>
        ${hours.map((hour) => html`<th scope="col"><span class=${hour % 6 ? "sr" : ""}>${f.hour(hour)}</span></th>`)}
      </tr></thead>
      <tbody>${WEEKDAYS.map((weekday) => html`<tr>
        <th scope="row">${f.weekday(weekday)}</th>
        ${hours.map((hour) => {
          const value = this.#value(this.#cells[(weekday - 1) * 24 + hour] as Cell);
          return html`<td class="fill" title="${f.weekday(weekday)} ${f.hour(hour)}: ${f.exact(value)} ${f.text(this.measure)}"
            ${cssVar("--level", `${Math.round((value / most) * 100)}%`)}><span class="sr">${f.exact(value)}</span></td>`;
        })}
      </tr>`)}</tbody>
    </table>`;
  }

  protected override table(): Table {
    const f = this.format;
    return {
      head: [f.text("weekday"), f.text("hour"), f.text("events"), f.text("users")],
      rows: this.#cells.map(({ weekday, hour, count, users }) => [f.weekday(weekday), hour, count, users]),
    };
  }
}

/** From Monday on, as the weeks of the chart and of retention are. */
const WEEKDAYS = [1, 2, 3, 4, 5, 6, 7];
