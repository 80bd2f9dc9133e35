/**
 * `<nealytics-paths event="signup">`: what people do next, step by step, or what they did before.
 *
 * A column is a step. Its most frequent event is chosen, or the one that was clicked, and the next column shows what
 * followed it. Without `event` the most frequent event type is the start; both can be changed in the header.
 */

import { css, html, nothing, type TemplateResult } from "lit";

import { type Question, QueryError } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { type Answers, Card } from "./base.ts";
import { around, cssVar, icon, type Table } from "./dom.ts";
import { bars } from "./styles.ts";

interface Path {
  readonly events: readonly string[];
  readonly count: number;
  readonly share: number;
}
interface Paths {
  readonly starts: number;
  readonly paths: readonly Path[];
  readonly warnings?: readonly unknown[];
}

const ROWS_MAX = 7;
const TYPES_MAX = 30;
const DIRECTIONS = ["next", "previous"] as const;

export class NealyticsPaths extends Card {
  static override properties = {
    event: {},
    direction: {},
    depth: { type: Number },
    by: {},
    chosen: { state: true },
    start: { state: true },
  };
  declare event: string | undefined;
  declare direction: (typeof DIRECTIONS)[number];
  declare depth: number;
  declare by: "user" | "session";
  /** The events that were clicked, from the first step on. */
  declare protected chosen: readonly string[];
  /** Where the paths start: what was picked, else `event`, else the most frequent type. */
  declare protected start: string | undefined;

  static override styles = [
    ...Card.styles,
    bars,
    css`
      .block {
        height: 268px;
      }
      .picks {
        display: flex;
        gap: 6px;
        min-width: 0;
        margin-inline-start: auto;
      }
      .pick {
        max-width: 180px;
      }
      .steps {
        display: grid;
        grid-template-columns: repeat(var(--columns), minmax(0, 1fr));
        gap: 20px;
      }
      h4 {
        display: flex;
        justify-content: space-between;
        gap: 12px;
        margin: 0 0 6px;
        padding: 0 10px;
        font-size: 13px;
        font-weight: 400;
        color: var(--_muted);
      }
      h4 .after {
        display: flex;
        gap: 4px;
        min-width: 0;
        white-space: nowrap;
      }
      .row[aria-pressed="true"] {
        font-weight: 600;
      }
      .row[aria-pressed="true"]::before {
        background: color-mix(in oklab, var(--_accent) 26%, transparent);
      }
      .rest {
        color: var(--_muted);
      }
      .row.rest::before {
        background: var(--_fill);
      }
      @container (max-width: 600px) {
        header {
          flex-wrap: wrap;
        }
        .picks {
          order: 3;
          flex-wrap: wrap;
          width: 100%;
        }
        .pick {
          flex: 1 1 136px;
          max-width: none;
        }
        .steps {
          grid-template-columns: minmax(0, 1fr);
        }
      }
    `,
  ];

  constructor() {
    super();
    this.direction = "next";
    this.depth = 3;
    this.by = "session";
    this.chosen = [];
  }

  protected override asksBy(): readonly string[] {
    return ["event", "direction", "depth", "by", "start"];
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("event")) this.start = this.event;
    if (changed.has("direction") || changed.has("start")) this.chosen = [];
    super.willUpdate(changed);
  }

  override questions(_page: Page): Record<string, Question> {
    const start = this.start ?? this.event;
    const { direction, depth, by } = this;
    return {
      types: { endpoint: "top", dimension: "event_type", limit: TYPES_MAX },
      ...(start ? { paths: { endpoint: "paths", event: start, direction, depth, by } } : {}),
    };
  }

  override receive(answers: Answers): void {
    const types = answers["types"];
    const first = types && !(types instanceof QueryError) ? (types as { items?: { key: string }[] }).items?.[0]?.key : undefined;
    if (!answers["paths"] && first) {
      this.start = first; // which asks again; until then it is loading
      return;
    }
    super.receive(answers);
  }

  protected override defaultHeading(): string {
    return this.format.text("paths");
  }

  get #paths(): Paths | undefined {
    return this.answers["paths"] as Paths | undefined;
  }

  protected override isEmpty(): boolean {
    return !this.#paths?.paths.length;
  }

  protected override actions(): unknown {
    const f = this.format;
    if (this.state === "loading" || this.problem) return nothing;
    const found = this.answer<{ items: { key: string }[] }>("types").items.map(({ key }) => key);
    const types = this.start && !found.includes(this.start) ? [this.start, ...found] : found;
    if (types.length === 0) return nothing;
    return html`<div class="picks">
      <span class="pick"><select aria-label=${f.text("direction")} @change=${(event: Event) => (this.direction = picked(event) as "next")}>
        ${DIRECTIONS.map((one) => html`<option value=${one} ?selected=${one === this.direction}>${f.text(`paths_${one}`)}</option>`)}
      </select>${icon("chevron")}</span>
      <span class="pick"><select aria-label=${f.text("start")} @change=${(event: Event) => (this.start = picked(event))}>
        ${types.map((type) => html`<option value=${type} ?selected=${type === this.start}>${type}</option>`)}
      </select>${icon("chevron")}</span>
    </div>`;
  }

  /** The paths of each step that begin with what is chosen in the steps before it. */
  get #columns(): { before: readonly string[]; total: number; paths: readonly Path[] }[] {
    const { starts, paths } = this.#paths as Paths;
    const columns = [];
    let before: readonly string[] = [];
    let total = starts;
    for (let step = 0; step < this.depth; step++) {
      const found = paths.filter(({ events }) => events.length === step + 1 && before.every((name, i) => events[i] === name));
      if (found.length === 0) break;
      columns.push({ before, total, paths: found });
      const next = found.find(({ events }) => events[step] === this.chosen[step]) ?? (found[0] as Path);
      before = next.events;
      total = next.count;
    }
    return columns;
  }

  protected override content(): TemplateResult {
    const columns = this.#columns;
    return html`<div class="steps" ${cssVar("--columns", this.depth)}>
      ${columns.map((column, step) => this.#column(column.before, column.total, column.paths, columns[step + 1]?.before[step]))}
    </div>`;
  }

  #column(before: readonly string[], total: number, paths: readonly Path[], chosen: string | undefined): TemplateResult {
    const f = this.format;
    const step = before.length;
    const name = before.at(-1) ?? this.start ?? "";
    const shown = paths.slice(0, ROWS_MAX);
    const rest = total - shown.reduce((sum, { count }) => sum + count, 0);
    const most = Math.max(rest, ...shown.map(({ count }) => count), 1);
    // Whether somebody did something else, or nothing more, is only known if all paths are there.
    const ended = paths.length <= ROWS_MAX && !this.#paths?.warnings;
    return html`<div>
      <h4><span class="after" title=${name}>${f.exact(step + 1)}. ${around(f, this.direction === "next" ? "after" : "before", html`<bdi class="clipped">${name}</bdi>`)}</span><span class="number" title=${f.exact(total)}>${f.short(total)}</span></h4>
      <ol class="bars" part="list">
        ${shown.map(({ events, count }) => {
          const name = events[step] as string;
          return html`<li><button class="row" part="row" aria-pressed=${name === chosen ? "true" : "false"} ${cssVar("--share", count / most)}
            @click=${() => (this.chosen = [...before, name])}>
            <span class="key"><bdi class="clipped">${name}</bdi></span>
            <span class="count"><span class="share">${f.percent(count / total)}</span><span title=${f.exact(count)}>${f.short(count, most)}</span></span>
          </button></li>`;
        })}
        ${rest > 0
          ? html`<li><div class="row rest" ${cssVar("--share", rest / most)}>
              <span class="key">${f.text(ended ? "nothing_more" : "other")}</span>
              <span class="count"><span>${f.short(rest, most)}</span></span>
            </div></li>`
          : nothing}
      </ol>
    </div>`;
  }

  protected override table(): Table {
    const f = this.format;
    return {
      head: [...Array.from({ length: this.depth }, (_, i) => String(i + 1)), f.text("value"), f.text("share")],
      rows: (this.#paths?.paths ?? []).map(({ events, count, share }) => [
        ...Array.from({ length: this.depth }, (_, i) => events[i] ?? ""), count, share,
      ]),
    };
  }
}

function picked(event: Event): string {
  return (event.target as HTMLSelectElement).value;
}
