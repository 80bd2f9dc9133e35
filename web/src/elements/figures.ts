/**
 * `<nealytics-figures>`: the headline numbers of the range, each with its change and a small line.
 *
 * With `measure` it shows that one of the API instead, such as `sum(meta:amount)`, in its `currency`; several stand one
 * a line, and the lines of `heading` are their names.
 *
 * Where the page has a chart without a `measure` of its own, a click on users, sessions or events shows that there.
 */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import { type Measure, MEASURES, type Page, unitOf } from "../data/page.ts";
import { onAxis, type Point } from "../data/points.ts";
import { endsOf, isOfClock } from "../data/range.ts";
import type { Change, Format } from "../text/format.ts";
import type { Key } from "../text/messages.ts";
import { Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";
import { spark, sparkStyles } from "./spark.ts";

interface Figures {
  readonly events: number;
  readonly sessions: number;
  readonly users: number;
  readonly eventsPerSession: number;
  readonly medianSessionDurationSeconds: number;
  readonly bounceShare: number;
}
interface Summary extends Figures {
  readonly values?: readonly (number | null)[];
  readonly previous?: Figures & { readonly values?: readonly (number | null)[] };
}
type Name = keyof Figures & Key;
const NAMES: readonly Name[] = ["users", "sessions", "events", "eventsPerSession", "medianSessionDurationSeconds", "bounceShare"];
/** These need all events of a visit. */
const WHOLE_VISITS = new Set<Name>(["medianSessionDurationSeconds", "bounceShare"]);
/** A text of more characters is set smaller: a duration, in languages whose units are words. */
const LONG = 9;
/** Of these less is better. */
const FALLING = new Set<Name>(["bounceShare"]);

export class NealyticsFigures extends Card {
  static override properties = { measure: {}, currency: {} };
  declare measure: string | undefined;
  declare currency: string | undefined;

  static override styles = [
    ...Card.styles,
    sparkStyles,
    css`
      section {
        padding: 0;
        gap: 0;
        overflow: clip;
      }
      header {
        display: none;
      }
      .outdated {
        padding: 8px 18px;
      }
      ul {
        display: grid;
        grid-template-columns: repeat(var(--columns, 6), minmax(0, 1fr));
        margin: 0 -1px -1px 0;
        padding: 0;
        list-style: none;
      }
      /* A label of two lines moves the numbers beside it down, too. */
      li,
      .tile {
        display: grid;
        grid-row: span 4;
        grid-template-rows: subgrid;
        grid-template-columns: minmax(0, 1fr);
        align-content: start;
        row-gap: 2px;
      }
      li {
        min-width: 0;
        border: 0 solid var(--_border);
        border-width: 0 1px 1px 0;
      }
      .tile {
        min-width: 0;
        padding: 16px 18px 14px;
        border: 0;
        background: none;
        text-align: start;
      }
      button.tile {
        cursor: pointer;
      }
      button.tile:hover {
        background: var(--_fill);
      }
      button.tile:focus-visible {
        outline-offset: -3px;
      }
      .tile[aria-pressed="true"] {
        box-shadow: inset 0 2px var(--_accent);
      }
      .tile[aria-pressed="true"] .label {
        color: var(--_text);
        font-weight: 500;
      }
      .label {
        font-size: 13px;
        color: var(--_muted);
        overflow: hidden;
        overflow-wrap: break-word;
        text-wrap: balance;
      }
      .value {
        font-size: 28px;
        line-height: 32px;
        font-weight: 600;
        letter-spacing: -0.02em;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
        overflow: hidden;
        text-overflow: ellipsis;
      }
      .value.long {
        font-size: 20px;
      }
      @container (max-width: 900px) {
        ul:not(.own) {
          grid-template-columns: repeat(3, minmax(0, 1fr));
        }
      }
      @container (max-width: 480px) {
        ul {
          grid-template-columns: repeat(min(2, var(--columns, 2)), minmax(0, 1fr)) !important;
        }
        .tile {
          padding: 12px 14px;
        }
        .value {
          font-size: 22px;
          line-height: 28px;
        }
        .value.long {
          font-size: 15px;
        }
      }
      .change {
        font-size: 13px;
        min-height: 19px;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      .skeleton.number {
        height: 24px;
        width: 60%;
        margin: 4px 0;
      }
    `,
  ];

  protected override asksBy(): readonly string[] {
    return ["measure"];
  }

  /** Of the API, if it shows them. */
  get #own(): readonly string[] {
    return linesOf(this.measure);
  }

  override questions(page: Page): Record<string, Question> {
    if (this.#own.length > 0) {
      const measure = this.#own;
      return {
        summary: { ...summaryOf(page), measure },
        points: { endpoint: "timeseries", interval: page.interval, fill: true, measure },
      };
    }
    const questions = {
      summary: summaryOf(page),
      events: { endpoint: "timeseries", interval: page.interval, fill: true },
    };
    // In a day or two these are one point or two, which is no line.
    if (isOfClock(page.interval)) return questions;
    return {
      ...questions,
      users: { endpoint: "active", interval: page.interval, by: "user" },
      sessions: { endpoint: "active", interval: page.interval, by: "session" },
    };
  }

  protected override defaultHeading(): string {
    return this.format.text("total");
  }

  protected override isEmpty(): boolean {
    return false; // zeros say it themselves
  }

  protected override skeleton(): TemplateResult {
    const own = this.#own;
    if (own.length > 0) {
      return html`<ul aria-hidden="true" ${cssVar("--columns", `${own.length}`)}>
        ${own.map((_, i) => html`<li><div class="tile"><span class="label">${this.#label(i)}</span><span class="skeleton number"></span><span class="change"></span>${spark()}</div></li>`)}
      </ul>`;
    }
    return html`<ul aria-hidden="true">
      ${NAMES.map((name) => html`<li><div class="tile"><span class="label">${this.format.text(name)}</span><span class="skeleton number"></span><span class="change"></span>${isMeasure(name) ? spark() : nothing}</div></li>`)}
    </ul>`;
  }

  protected override content(): TemplateResult {
    const summary = this.answer<Summary>("summary");
    const { previous } = summary;
    const own = this.#own;
    if (own.length > 0) {
      return html`<ul part="figures" class="own" ${cssVar("--columns", `${own.length}`)}>
        ${own.map((measure, i) => this.#ownTile(measure, i, summary.values?.[i], previous?.values?.[i]))}
      </ul>`;
    }
    return html`<ul part="figures">
      ${NAMES.map((name) => this.#tile(name, this.#known(summary, name), previous && this.#known(previous, name)))}
    </ul>`;
  }

  protected override table(): Table {
    const f = this.format;
    const summary = this.answer<Summary>("summary");
    const own = this.#own;
    if (own.length > 0) {
      const rows = own.map((_, i) => [this.#label(i), summary.values?.[i] ?? "", summary.previous?.values?.[i] ?? ""]);
      return { head: ["", f.text("value"), f.text("previous")], rows };
    }
    return {
      head: ["", f.text("value"), f.text("previous")],
      rows: NAMES.map((name) => [f.text(name), summary[name], summary.previous?.[name] ?? ""]),
    };
  }

  /** Undefined where there is no such number: of no visits, and of visits of which a filter leaves single events. */
  #known(figures: Figures, name: Name): number | undefined {
    const isCut = WHOLE_VISITS.has(name) && this.page.filters.some((filter) => /^(event_type|item_id):/.test(filter));
    return isCut || (figures.sessions === 0 && !isMeasure(name)) ? undefined : figures[name];
  }

  #tile(name: Name, value: number | undefined, before: number | undefined): TemplateResult {
    const f = this.format;
    const text = value === undefined ? "–" : shown(f, name, value);
    const change = value === undefined || !this.page.comparedRange ? undefined : this.#change(name, value, before);
    const good = change && change.sign !== 0 && change.sign > 0 !== FALLING.has(name);
    const tile = html`<span class="label">${f.text(name)}</span>
      <span class="value ${text.length > LONG ? "long" : ""}" title=${value === undefined ? nothing : f.exact(value)}><bdi>${text}</bdi></span>
      <span class="change">${change ? changeOf(f, change, good ? "up" : "down") : nothing}</span>
      ${isMeasure(name) ? spark(this.#values(name)) : nothing}`;
    const { page } = this;
    return html`<li part="figure">${isMeasure(name) && page.followers > 0
      ? html`<button class="tile" aria-pressed=${page.measure === name ? "true" : "false"} @click=${() => (page.measure = name)}>${tile}</button>`
      : html`<div class="tile">${tile}</div>`}</li>`;
  }

  /** What it is called: a line of `heading`, or the measure as it is. */
  #label(i: number): string {
    return linesOf(this.heading)[i] ?? this.#own[i] ?? "";
  }

  #ownTile(measure: string, i: number, value: number | null | undefined, before: number | null | undefined): TemplateResult {
    const f = this.format.as(unitOf(measure, this.currency));
    const text = typeof value === "number" ? f.short(value) : "–";
    const changed = unitOf(measure, undefined) === "percent" ? "changeOfShare" : "change";
    const change = typeof value === "number" && this.page.comparedRange ? f[changed](value, before ?? undefined) : undefined;
    const { points } = (this.answers["points"] ?? {}) as { points?: { readonly values: readonly (number | null)[]; readonly partial?: boolean }[] };
    const values = points?.map((point) => point.values[i] ?? null) ?? [];
    return html`<li part="figure"><div class="tile"><span class="label">${this.#label(i)}</span>
      <span class="value ${text.length > LONG ? "long" : ""}" title=${typeof value === "number" ? f.exact(value) : nothing}><bdi>${text}</bdi></span>
      <span class="change">${change ? changeOf(f, change, change.sign > 0 ? "up" : "down") : nothing}</span>
      ${spark(points?.at(-1)?.partial && values.length > 2 ? values.slice(0, -1) : values, 0)}</div></li>`;
  }

  #change(name: Name, value: number, before: number | undefined): Change | undefined {
    return name === "bounceShare" ? this.format.changeOfShare(value, before) : this.format.change(value, before);
  }

  #values(name: Measure): (number | null)[] | undefined {
    const of = (one: Measure): readonly Point[] | undefined => (this.answers[one] as { points?: Point[] } | undefined)?.points;
    const [points, axis] = [of(name), of("events")];
    if (!points || !axis) return undefined;
    const values = onAxis(points, axis);
    // Without an interval that is not over, which would look like a fall.
    return axis.at(-1)?.partial && values.length > 2 ? values.slice(0, -1) : values;
  }
}

/** The same of the dashboard and its figures, so that it is asked once. */
export function summaryOf(page: Page): Question {
  return { endpoint: "summary", ...comparedOf(page) };
}

/** The range that an answer is compared with, if any: no more of it than has passed of the page's range. */
export function comparedOf(page: Page): { readonly compare?: string } {
  const range = page.comparedSoFar;
  const before = range && endsOf(range);
  return before ? { compare: `${before.from}..${before.to}` } : {};
}

/** `▲ 12.4 %`, by colour and by sign, and in words for those who see neither. */
export function changeOf(f: Format, change: Change, tone: "up" | "down"): TemplateResult {
  if (change.sign === 0) return html`<span class="muted">${f.text("no_change")}</span>`;
  return html`<span class=${tone}><span aria-hidden="true"><small>${change.sign > 0 ? "▲" : "▼"}</small> <bdi>${change.text}</bdi></span><span class="sr">${f.changed(change)}</span></span>`;
}

function linesOf(text: string | undefined | null): readonly string[] {
  return (text ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
}

function isMeasure(name: Name): name is Measure {
  return (MEASURES as readonly string[]).includes(name);
}

function shown(f: Format, name: Name, value: number): string {
  if (name === "medianSessionDurationSeconds") return f.duration(value);
  if (name === "bounceShare") return f.percent(value);
  return f.short(value);
}
