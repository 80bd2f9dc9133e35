/**
 * `<nealytics-tenants>`: all tenants of a project beside each other, with a token of the whole project.
 *
 * Of each tenant its users, sessions and events, and how they have changed; a column's head sorts by it. Clicking a
 * tenant adds it as a filter to the page. The node sorts, so that the first ones are those of all tenants; one that
 * has stopped sending is listed for what it sent in the compared range.
 */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import { MEASURES, type Measure, type Page } from "../data/page.ts";
import { cssVar, type Table } from "./dom.ts";
import { changeOf, comparedOf } from "./figures.ts";
import { type Item, NealyticsTop } from "./top.ts";

interface Counts {
  readonly count: number;
  readonly users: number;
  readonly sessions: number;
}
interface Tenant extends Item, Counts {
  readonly users: number;
  readonly previous?: Counts;
}

export class NealyticsTenants extends NealyticsTop {
  static override properties = { sort: { state: true } };
  declare protected sort: Measure;

  static override styles = [
    ...NealyticsTop.styles,
    css`
      table {
        display: block;
        font-variant-numeric: tabular-nums;
      }
      thead,
      tbody {
        display: grid;
        gap: 2px;
      }
      tr {
        position: relative;
        isolation: isolate;
        display: grid;
        grid-template-columns: minmax(0, 1.4fr) repeat(3, minmax(0, 1fr));
        align-items: center;
        gap: 0 16px;
        padding: 0 10px;
      }
      tbody tr {
        min-height: 36px;
      }
      th,
      td {
        padding: 0;
        min-width: 0;
        font-weight: inherit;
        text-align: start;
      }
      td {
        display: flex;
        align-items: baseline;
        justify-content: flex-end;
        gap: 8px;
        white-space: nowrap;
      }
      th + th {
        text-align: end;
      }
      thead button {
        max-width: 100%;
        padding: 4px 0;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
        border: 0;
        background: none;
        color: var(--_muted);
        font-size: 13px;
        cursor: pointer;
      }
      thead button:hover,
      thead [aria-sort] button {
        color: var(--_text);
      }
      thead [aria-sort] button {
        font-weight: 600;
      }
      thead [aria-sort] button::before {
        content: "↓";
        margin-inline-end: 4px;
      }
      .change {
        flex: 0 0 76px;
        font-size: 13px;
        text-align: end;
      }
      /* All of the row is its button. */
      .name {
        display: block;
        width: 100%;
        padding: 6px 0;
        border: 0;
        background: none;
        text-align: start;
        cursor: pointer;
      }
      .name::before,
      .name::after {
        content: "";
        position: absolute;
        inset-block: 1px;
        inset-inline: 0;
        border-radius: var(--_small);
      }
      .name::after {
        z-index: -1;
        width: var(--share);
        background: color-mix(in oklab, var(--_accent) 13%, transparent);
      }
      .name:hover::after,
      .name:focus-visible::after {
        background: color-mix(in oklab, var(--_accent) 24%, transparent);
      }
      .name:focus-visible {
        outline: none;
      }
      .name:focus-visible::before {
        outline: 2px solid var(--_accent);
        outline-offset: -2px;
      }
      @container (max-width: 640px) {
        thead th:first-child {
          position: absolute;
        }
        tr {
          grid-template-columns: repeat(3, minmax(0, 1fr));
          gap: 0 8px;
        }
        th + th {
          text-align: start;
        }
        tbody th {
          grid-column: 1 / -1;
        }
        tbody tr {
          padding-block-end: 8px;
        }
        td {
          flex-wrap: wrap;
          justify-content: flex-start;
          gap: 0 8px;
        }
        .change {
          flex: none;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.dimension = "tenant_id";
    this.limit = 10;
    this.sort = "events";
  }

  protected override asksBy(): readonly string[] {
    return [...super.asksBy(), "sort"];
  }

  protected override question(page: Page): Question {
    return { ...super.question(page), order: `-${this.sort === "events" ? "count" : this.sort}`, sessions: true, ...comparedOf(page) };
  }

  protected override get hasMore(): boolean {
    return this.items.length >= this.limit;
  }

  protected override get items(): readonly Tenant[] {
    return super.items as readonly Tenant[];
  }

  protected override list(long: boolean): TemplateResult {
    const f = this.format;
    const { items, other } = this;
    const most = Math.max(...items.map((item) => of(item, this.sort)), 1);
    return html`<div class=${long ? "long" : ""}><table role="table" part="table">
      <thead role="rowgroup"><tr role="row">
        <th role="columnheader" scope="col"><span class="sr">${f.text("tenant_id")}</span></th>
        ${MEASURES.map((one) => html`<th role="columnheader" scope="col" aria-sort=${one === this.sort ? "descending" : nothing}>
          <button @click=${() => (this.sort = one)}>${f.text(one)}</button></th>`)}
      </tr></thead>
      <tbody role="rowgroup">
        ${items.map((item) => html`<tr role="row" part="row">
          <th role="rowheader" scope="row"><button class="name" ${cssVar("--share", `${(of(item, this.sort) / most) * 100}%`)}
            title="${f.text("filter")}: ${item.key}" @click=${() => this.select(item)}><bdi class="clipped">${item.key}</bdi></button></th>
          ${MEASURES.map((one) => this.#cell(of(item, one), item.previous && of(item.previous, one)))}
        </tr>`)}
        ${other > 0 && !this.search
          ? html`<tr role="row" class="muted"><th role="rowheader" scope="row">${f.text("other")}</th><td role="cell"></td><td role="cell"></td>${this.#cell(other, undefined)}</tr>`
          : nothing}
      </tbody>
    </table></div>`;
  }

  #cell(value: number, before: number | undefined): TemplateResult {
    const f = this.format;
    const change = f.change(value, before);
    return html`<td role="cell"><span title=${f.exact(value)}>${f.short(value)}</span><span class="change">${change ? changeOf(f, change, change.sign > 0 ? "up" : "down") : nothing}</span></td>`;
  }

  protected override table(): Table {
    const f = this.format;
    return {
      head: [f.text("tenant_id"), ...MEASURES.flatMap((one) => [f.text(one), `${f.text(one)}: ${f.text("previous")}`])],
      rows: this.items.map((item) => [item.key, ...MEASURES.flatMap((one) => [of(item, one), item.previous ? of(item.previous, one) : ""])]),
    };
  }
}

function of(counts: Counts, measure: Measure): number {
  return measure === "events" ? counts.count : counts[measure];
}
