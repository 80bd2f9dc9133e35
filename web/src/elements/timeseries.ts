/**
 * `<nealytics-timeseries>`: events, users or sessions over time; the compared range dashed behind it.
 *
 * `measure` is `events`, `users` or `sessions`; `group-by` splits events by a dimension; `kind` is `area`, `line` or
 * `bars`. An SVG, which prints and takes the page's colours; its data is beside it as a table.
 */

import { css, html, nothing, type PropertyValues, svg, type TemplateResult } from "lit";
import { nice, ticks } from "d3-array";
import { area, line, stack } from "d3-shape";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { intervalFor, type Interval } from "../data/range.ts";
import { Card } from "./base.ts";
import { changeOf } from "./figures.ts";
import { cssVar, type Table } from "./dom.ts";

interface Point {
  readonly bucket: string;
  readonly count?: number;
  readonly activeCount?: number;
  readonly series?: string;
  readonly partial?: boolean;
}
interface Answer {
  readonly points: readonly Point[];
}

const HEIGHT = 280;
const PAD = { top: 10, bottom: 26, side: 2 };
const SERIES_MAX = 8;

/** One line of the chart: a value for each bucket. */
interface Series {
  readonly name: string;
  readonly values: readonly number[];
}

export class NealyticsTimeseries extends Card {
  static override properties = {
    measure: {},
    groupBy: { attribute: "group-by" },
    kind: {},
    width: { state: true },
    hovered: { state: true },
  };
  declare measure: "events" | "users" | "sessions";
  declare groupBy: string | undefined;
  declare kind: "area" | "line" | "bars";
  declare protected width: number;
  declare protected hovered: number | undefined;
  #resize: ResizeObserver | undefined;

  static override styles = [
    ...Card.styles,
    css`
      .chart {
        position: relative;
        height: ${HEIGHT}px;
        touch-action: pan-y;
      }
      .block {
        height: ${HEIGHT}px;
      }
      svg {
        display: block;
        width: 100%;
        height: ${HEIGHT}px;
        overflow: visible;
      }
      svg {
        direction: ltr;
      }
      text {
        unicode-bidi: plaintext;
      }
      .grid line {
        stroke: var(--_border);
      }
      text {
        fill: var(--_muted);
        font-size: 12px;
        font-variant-numeric: tabular-nums;
      }
      .ylabel {
        paint-order: stroke;
        stroke: var(--_sheet);
        stroke-width: 3px;
        stroke-opacity: 0.75;
      }
      .line {
        fill: none;
        stroke: var(--c);
        stroke-width: 2;
        stroke-linejoin: round;
        stroke-linecap: round;
      }
      .line.partial {
        stroke-dasharray: 1 5;
      }
      .previous {
        fill: none;
        stroke: var(--_muted);
        stroke-width: 1.5;
        stroke-dasharray: 4 4;
        opacity: 0.75;
      }
      .area {
        fill: var(--c);
        opacity: 0.08;
      }
      .stacked {
        fill: var(--c);
        opacity: 0.85;
      }
      .bar {
        fill: var(--c);
      }
      .cross {
        stroke: color-mix(in oklab, var(--_text) 35%, transparent);
      }
      .dot {
        fill: var(--c);
        stroke: var(--_sheet);
        stroke-width: 2;
      }
      .tip {
        position: absolute;
        z-index: 5;
        inset-block-start: 4px;
        max-width: min(260px, 70%);
        padding: 8px 10px;
        border: 1px solid var(--_border);
        border-radius: 10px;
        background: var(--_sheet);
        box-shadow: 0 6px 20px rgb(0 0 0 / 12%);
        font-size: 13px;
        pointer-events: none;
        left: var(--x);
        transform: translateX(var(--shift));
      }
      .tip b {
        font-weight: 600;
      }
      .tip div {
        display: flex;
        gap: 10px;
        justify-content: space-between;
        white-space: nowrap;
      }
      .name {
        overflow: hidden;
        text-overflow: ellipsis;
        min-width: 0;
      }
      .legend {
        display: flex;
        flex-wrap: wrap;
        gap: 4px 14px;
        margin: 10px 0 0;
        padding: 0;
        list-style: none;
        font-size: 13px;
      }
      .key {
        display: inline-block;
        width: 9px;
        height: 9px;
        margin-inline-end: 6px;
        border-radius: 3px;
        background: var(--c);
      }
    `,
  ];

  constructor() {
    super();
    this.measure = "events";
    this.kind = "area";
    this.width = 0;
  }

  protected override asksBy(): readonly string[] {
    return ["measure", "groupBy"];
  }

  override questions(page: Page): Record<string, Question> {
    const before = page.comparedRange;
    const questions: Record<string, Question> = { now: this.#question(page) };
    if (before && !this.groupBy) questions["previous"] = { ...this.#question(page), from: before.from, to: before.to };
    return questions;
  }

  #question(page: Page): Question {
    const { interval } = page;
    if (this.measure !== "events") {
      return { endpoint: "active", interval: interval === "hour" ? "day" : interval, by: this.measure === "users" ? "user" : "session" };
    }
    return { endpoint: "timeseries", interval, fill: true, ...(this.groupBy ? { groupBy: this.groupBy } : {}) };
  }

  protected override defaultHeading(): string {
    return this.format.text(this.measure);
  }

  protected override isEmpty(): boolean {
    return !this.answer<Answer>("now").points.some((point) => valueOf(point) > 0);
  }

  override firstUpdated(changed: PropertyValues): void {
    super.firstUpdated(changed);
    this.#resize = new ResizeObserver(([entry]) => (this.width = entry?.contentRect.width ?? 0));
    this.#resize.observe(this.renderRoot.querySelector(".body") as Element);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#resize?.disconnect();
  }

  // Data

  get #interval(): Interval {
    const interval = intervalFor(this.page.range);
    return this.measure !== "events" && interval === "hour" ? "day" : interval;
  }

  /** The starts of the intervals, and what is drawn over them. */
  get #data(): { starts: Date[]; series: Series[]; partial: boolean } {
    const { points } = this.answer<Answer>("now");
    const starts = [...new Set(points.map((point) => point.bucket))].sort((a, b) => Date.parse(a) - Date.parse(b));
    const index = new Map(starts.map((bucket, i) => [bucket, i]));
    const names = this.groupBy ? largest(points) : [this.format.text(this.measure)];
    const other = this.format.text("other");
    const values = new Map(names.map((name) => [name, new Array<number>(starts.length).fill(0)]));
    for (const point of points) {
      const name = this.groupBy ? (point.series ?? "–") : (names[0] as string);
      const into = values.get(name) ?? fillOther(values, other, starts.length);
      const i = index.get(point.bucket) as number;
      into[i] = (into[i] ?? 0) + valueOf(point);
    }
    const last = points.at(-1);
    return {
      starts: starts.map((bucket) => new Date(bucket)),
      series: [...values].map(([name, list]) => ({ name, values: list })),
      partial: last?.partial ?? (this.page.range.to >= this.page.today && starts.length > 1),
    };
  }

  get #previous(): readonly number[] | undefined {
    if (this.groupBy || !this.page.comparedRange) return undefined;
    return (this.answers["previous"] as unknown as Answer | undefined)?.points.map(valueOf);
  }

  protected override table(): Table {
    const f = this.format;
    const { starts, series } = this.#data;
    const previous = this.#previous;
    return {
      head: [f.text("time"), ...series.map(({ name }) => name), ...(previous ? [f.text("previous")] : [])],
      rows: starts.map((start, i) => [
        f.bucket(start, this.#interval),
        ...series.map(({ values }) => values[i] ?? 0),
        ...(previous ? [previous[i] ?? ""] : []),
      ]),
    };
  }

  // Picture

  protected override content(): TemplateResult {
    const { starts, series, partial } = this.#data;
    const stacked = this.groupBy !== undefined && this.kind !== "line";
    return html`<div class="chart" part="chart" role="group" tabindex="0" aria-label=${this.#summary(starts, series)}
        @pointermove=${this.#hover} @pointerleave=${() => (this.hovered = undefined)}
        @keydown=${this.#key} @blur=${() => (this.hovered = undefined)}>
        ${this.width ? this.#picture(starts, series, stacked, partial) : nothing}
        ${this.width && this.hovered !== undefined ? this.#tip(starts, series) : nothing}
      </div>
      ${series.length > 1 ? this.#legend(series) : nothing}
      ${this.hiddenTable()}
      <div class="sr" aria-live="polite">${this.hovered === undefined ? nothing : this.#spoken(starts, series)}</div>`;
  }

  #picture(starts: Date[], series: Series[], stacked: boolean, partial: boolean): TemplateResult {
    const f = this.format;
    const count = starts.length;
    const x = (i: number): number => this.#x(i, count);
    const layers = stack<number, string>()
      .keys(series.map(({ name }) => name))
      .value((i, name) => series.find((one) => one.name === name)?.values[i] ?? 0)(starts.map((_, i) => i));
    const previous = this.#previous;
    const tops = stacked ? (layers.at(-1)?.map((point) => point[1]) ?? []) : series.flatMap(({ values }) => values);
    const [, most] = nice(0, Math.max(1, ...tops, ...(previous ?? [])), 4) as [number, number];
    const y = (value: number): number => HEIGHT - PAD.bottom - (value / most) * (HEIGHT - PAD.bottom - PAD.top);
    const whole = ticks(0, most, 4).filter((tick) => tick > 0 && Number.isInteger(tick));
    const end = partial ? count - 1 : count; // the last interval is not over yet
    const step = count > 1 ? x(1) - x(0) : this.width;
    return svg`<svg viewBox="0 0 ${this.width} ${HEIGHT}" aria-hidden="true">
      <g class="grid">${[0, ...whole].map((tick) => svg`<line x1="0" x2=${this.width} y1=${y(tick)} y2=${y(tick)}/>`)}</g>
      ${
        this.kind === "bars"
          ? layers.map((layer, s) => layer.map((point, i) => svg`<rect class="bar" ${cssVar("--c", color(s))}
              x=${x(i) - step * 0.36} width=${Math.max(1, step * 0.72)} y=${y(point[1])} height=${Math.max(0, y(point[0]) - y(point[1]))} rx=${Math.min(3, step / 6)}/>`))
          : stacked
            ? layers.map((layer, s) => svg`<path class="stacked" ${cssVar("--c", color(s))}
                d=${area<(typeof layer)[number]>((_, i) => x(i), (point) => y(point[0]), (point) => y(point[1]))(layer)}/>`)
            : [
                previous ? svg`<path class="previous" d=${line<number>((_, i) => x(i), y)(previous.slice(0, count))}/>` : nothing,
                ...series.map(({ values }, s) => svg`
                  ${this.kind === "area" && series.length === 1
                    ? svg`<path class="area" ${cssVar("--c", color(s))} d=${area<number>((_, i) => x(i), y(0), y)(values)}/>`
                    : nothing}
                  <path class="line" ${cssVar("--c", color(s))} d=${line<number>((_, i) => x(i), y)(values.slice(0, end))}/>
                  ${end < count
                    ? svg`<path class="line partial" ${cssVar("--c", color(s))} d=${line<number>((_, i) => x(i + end - 1), y)(values.slice(end - 1))}/>`
                    : nothing}`),
              ]
      }
      ${this.hovered === undefined ? nothing : this.#crosshair(x(this.hovered), y, series, stacked)}
      ${whole.map((tick) => svg`<text class="ylabel" x="0" y=${y(tick) - 5}>${f.short(tick)}</text>`)}
      ${this.#ticks(starts).map(({ i, text, anchor }) => svg`<text x=${x(i)} y=${HEIGHT - 6} text-anchor=${anchor}>${text}</text>`)}
    </svg>`;
  }

  #crosshair(at: number, y: (value: number) => number, series: Series[], stacked: boolean): TemplateResult {
    const i = this.hovered as number;
    return svg`<line class="cross" x1=${at} x2=${at} y1=${PAD.top} y2=${HEIGHT - PAD.bottom}/>
      ${stacked || this.kind === "bars"
        ? nothing
        : series.map(({ values }, s) => svg`<circle class="dot" ${cssVar("--c", color(s))} cx=${at} cy=${y(values[i] ?? 0)} r="4.5"/>`)}`;
  }

  #x(i: number, count: number): number {
    const inner = this.width - 2 * PAD.side;
    if (this.kind === "bars") return PAD.side + ((i + 0.5) * inner) / count;
    return PAD.side + (count > 1 ? (i * inner) / (count - 1) : inner / 2);
  }

  /** As many labels as have room, evenly spread; the outer ones stay inside. */
  #ticks(starts: Date[]): { i: number; text: string; anchor: string }[] {
    const f = this.format;
    const texts = starts.map((start) => f.tick(start, this.#interval));
    const widest = Math.max(...texts.map((text) => text.length)) * 7 + 24;
    const every = Math.max(1, Math.ceil((starts.length * widest) / Math.max(1, this.width)));
    return texts
      .map((text, i) => ({ i, text, anchor: "middle" }))
      .filter(({ i }) => i % every === 0)
      .map((tick) => {
        const at = this.#x(tick.i, starts.length);
        const anchor = at < widest / 2 - 8 ? "start" : at > this.width - widest / 2 + 8 ? "end" : "middle";
        return { ...tick, anchor };
      });
  }

  #tip(starts: Date[], series: Series[]): TemplateResult {
    const f = this.format;
    const i = this.hovered as number;
    const at = this.#x(i, starts.length);
    const before = this.#previous?.[i];
    const only = series.length === 1 ? series[0]?.values[i] : undefined;
    const change = only !== undefined && before !== undefined ? f.change(only, before) : undefined;
    const shown = [...series].map((one, s) => ({ ...one, s, value: one.values[i] ?? 0 })).sort((a, b) => b.value - a.value);
    return html`<div class="tip" aria-hidden="true" ${cssVar("--x", `${at}px`)} ${cssVar("--shift", at > this.width / 2 ? "calc(-100% - 12px)" : "12px")}>
      <div class="muted">${f.bucket(starts[i] as Date, this.#interval)}</div>
      ${shown.map(({ name, value, s }) => html`<div><span class="name" dir="auto">${series.length > 1 ? html`<span class="key" ${cssVar("--c", color(s))}></span>` : nothing}${name}</span><b class="number">${f.exact(value)}</b></div>`)}
      ${before === undefined ? nothing : html`<div class="muted"><span>${f.text("previous")}</span><span class="number">${f.exact(before)}</span></div>`}
      ${change ? html`<div>${changeOf(f, change, change.sign > 0 ? "up" : "down")}</div>` : nothing}
    </div>`;
  }

  #legend(series: Series[]): TemplateResult {
    return html`<ul class="legend" part="legend">
      ${series.map(({ name }, s) => html`<li><span class="key" ${cssVar("--c", color(s))}></span>${name}</li>`)}
    </ul>`;
  }

  // Words

  /** The chart in a sentence: "Events, 1 – 30 Nov 2026: 12,400, up 8 %. Most on 24 November: 812." */
  #summary(starts: Date[], series: Series[]): string {
    const f = this.format;
    const sums = starts.map((_, i) => series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0));
    const peak = sums.indexOf(Math.max(...sums));
    const { from, to } = this.page.range;
    const total = sums.reduce((a, b) => a + b, 0);
    const before = this.#previous?.reduce((a, b) => a + b, 0);
    const change = this.measure === "events" ? f.change(total, before) : undefined;
    const trend = change?.text && change.sign ? `, ${f.text(change.sign > 0 ? "up" : "down", change.text)}` : "";
    // People who come on two days are one person: their days do not add up.
    const said = this.measure === "events" ? f.exact(total) + trend : f.exact(Math.max(...sums));
    const sentence = f.text("chart_summary", this.heading ?? this.defaultHeading(), f.days(from, to), said);
    return `${sentence} ${f.text("chart_peak", f.bucket(starts[peak] as Date, this.#interval), f.exact(sums[peak] ?? 0))}`;
  }

  #spoken(starts: Date[], series: Series[]): string {
    const i = this.hovered as number;
    const f = this.format;
    const values = series.map(({ name, values: list }) => `${name} ${f.exact(list[i] ?? 0)}`);
    return `${f.bucket(starts[i] as Date, this.#interval)}: ${values.join(", ")}`;
  }

  // Pointer and keys

  readonly #hover = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const { starts } = this.#data;
    const count = starts.length;
    const at = event.clientX - box.left - PAD.side;
    const inner = this.width - 2 * PAD.side;
    const i = this.kind === "bars" ? Math.floor((at / inner) * count) : Math.round((at / inner) * (count - 1));
    this.hovered = Math.min(count - 1, Math.max(0, i));
  };

  readonly #key = (event: KeyboardEvent): void => {
    const last = this.#data.starts.length - 1;
    const now = this.hovered ?? (event.key === "ArrowLeft" ? last + 1 : -1);
    const moves: Record<string, number> = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: last };
    const to = moves[event.key];
    if (to === undefined) {
      if (event.key === "Escape") this.hovered = undefined;
      return;
    }
    event.preventDefault();
    this.hovered = Math.min(last, Math.max(0, to));
  };
}

function valueOf(point: Point): number {
  return point.count ?? point.activeCount ?? 0;
}

function color(series: number): string {
  return `var(--_s${(series % SERIES_MAX) + 1})`;
}

/** The names of the series with the most events; the others become one. */
function largest(points: readonly Point[]): string[] {
  const sums = new Map<string, number>();
  for (const point of points) {
    const name = point.series ?? "–";
    sums.set(name, (sums.get(name) ?? 0) + valueOf(point));
  }
  const names = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  return names.length > SERIES_MAX ? names.slice(0, SERIES_MAX - 1) : names;
}

function fillOther(values: Map<string, number[]>, other: string, length: number): number[] {
  const found = values.get(other) ?? new Array<number>(length).fill(0);
  values.set(other, found);
  return found;
}

