/**
 * `<nealytics-timeseries>`: events, users or sessions over time; the compared range dashed behind it.
 *
 * `measure` is `events`, `users` or `sessions`, or one of the API, such as `sum(meta:amount)`, with its `currency`;
 * without it the chart shows what is chosen in the page's figures.
 * `group-by` splits events by a dimension; `kind` is `area`, `line` or `bars`. Dragging over the chart shows that part
 * of the range, of a day also a few hours or minutes; a double click goes back; by keyboard Shift with the arrows, Enter, and Backspace.
 *
 * The lines are an SVG that is stretched to the plot and everything else HTML in percent of it, so the picture fits
 * whatever place it gets, paper too, takes the page's colours, and is drawn before its size is known.
 */

import { css, html, nothing, type PropertyValues, svg, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import { isOwn, type Measure, type Page, unitOf } from "../data/page.ts";
import { onAxis, type Point, sameHours } from "../data/points.ts";
import { endsOf, type Interval, isOfClock, partOf, type Range } from "../data/range.ts";
import { labels, valuesBetween } from "./axis.ts";
import { type Answers, Card } from "./base.ts";
import type { Format } from "../text/format.ts";
import { changeOf } from "./figures.ts";
import { cssVar, type Table } from "./dom.ts";
import { pathOf, type Place, runs } from "./spark.ts";

interface Answer {
  readonly points: readonly Point[];
}

const SERIES_MAX = 8;
/** Until it is measured, and on paper, where nothing can be: then labels keep a distance that fits any sheet. */
const WIDTH_UNKNOWN = 340;
/** The SVG is this wide and high, whatever the plot is. */
const UNITS = 1000;

/** For each bucket; null where there is none, as of an average of nothing. */
type Values = readonly (number | null)[];

/** One line of the chart. */
interface Series {
  readonly name: string;
  readonly values: Values;
}

/** What is drawn of a series: from where to where. Without stacking, it begins at zero. */
interface Layer {
  readonly from: readonly number[];
  readonly to: Values;
}

interface Scale {
  readonly least: number;
  readonly most: number;
}

interface Shown {
  readonly measure: string;
  readonly groupBy: string | undefined;
  readonly range: Range;
  readonly compared: Range | undefined;
  readonly interval: Interval;
}

interface Before {
  /** Undefined for an hour that the other range has not. */
  readonly values: readonly (number | null | undefined)[];
  readonly buckets: readonly (string | undefined)[];
  readonly total: number;
}

interface Picture {
  readonly buckets: readonly string[];
  readonly series: readonly Series[];
  /** The last interval is not over yet. */
  readonly partial: boolean;
}

export class NealyticsTimeseries extends Card {
  static override properties = {
    measure: {},
    groupBy: { attribute: "group-by" },
    kind: {},
    currency: {},
    width: { state: true },
    hovered: { state: true },
    selected: { state: true },
  };
  declare measure: string | undefined;
  declare currency: string | undefined;
  declare groupBy: string | undefined;
  declare kind: "area" | "line" | "bars";
  declare protected width: number;
  declare protected hovered: number | undefined;
  /** Where a selection began, which ends at `hovered`. */
  declare protected selected: number | undefined;
  #resize: ResizeObserver | undefined;
  #asked!: Shown;
  /** What the answers are of, which stay while others are on their way. */
  #shown!: Shown;
  #followed: Page | undefined;
  #said = "";

  static override styles = [
    ...Card.styles,
    css`
      .chart {
        position: relative;
        direction: ltr;
        touch-action: pan-y;
        user-select: none;
      }
      .chart,
      .block {
        height: 280px;
      }
      .plot {
        position: absolute;
        inset: 10px 2px 26px calc(var(--left) + 2px);
      }
      .plot svg {
        position: absolute;
        inset: 0;
        width: 100%;
        height: 100%;
        overflow: visible;
      }
      .value,
      .tick {
        position: absolute;
        color: var(--_muted);
        font-size: 12px;
        line-height: 16px;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
        unicode-bidi: plaintext;
      }
      .value {
        inset: auto auto var(--y) calc(-2px - var(--left));
        transform: translateY(50%);
      }
      .grid {
        position: absolute;
        inset: auto 0 var(--y);
        border-block-end: 1px solid var(--_border);
      }
      .grid.zero {
        border-color: color-mix(in oklab, var(--_text) 24%, transparent);
      }
      .tick {
        inset-block-start: calc(100% + 8px);
        left: var(--x);
        transform: translateX(-50%);
      }
      path {
        fill: none;
        vector-effect: non-scaling-stroke;
        stroke-linejoin: round;
        stroke-linecap: round;
      }
      .line {
        stroke: var(--c);
        stroke-width: 2;
      }
      .line.partial {
        stroke-dasharray: 0.1 5;
      }
      .previous {
        stroke: var(--_muted);
        stroke-width: 1.5;
        stroke-dasharray: 4 4;
        opacity: 0.8;
      }
      .area {
        fill: var(--c);
        opacity: 0.08;
      }
      .stacked {
        fill: var(--c);
        opacity: 0.85;
      }
      .bar,
      .brush,
      .cross,
      .dot {
        position: absolute;
        pointer-events: none;
      }
      .bar {
        inset: auto auto var(--y) var(--x);
        width: var(--w);
        height: var(--h);
        background: var(--c);
      }
      .bar.last {
        border-radius: 3px 3px 0 0;
      }
      .bar.last.down {
        border-radius: 0 0 3px 3px;
      }
      .bar.partial {
        opacity: 0.5;
      }
      .brush {
        inset-block: 0;
        left: var(--x);
        width: var(--w);
        border: 0 solid var(--_accent);
        border-width: 0 1px;
        background: color-mix(in oklab, var(--_accent) 14%, transparent);
      }
      .cross {
        inset-block: 0;
        left: var(--x);
        border-inline-start: 1px solid color-mix(in oklab, var(--_text) 35%, transparent);
      }
      .dot {
        left: var(--x);
        bottom: var(--y);
        width: 9px;
        height: 9px;
        margin: 0 0 -4.5px -4.5px;
        border-radius: 50%;
        background: var(--c);
        outline: 2px solid var(--_sheet);
      }
      .tips {
        position: absolute;
        inset: 4px 0 auto;
        display: flex;
        pointer-events: none;
        z-index: 5;
      }
      .tips.end {
        flex-direction: row-reverse;
      }
      /* As wide as what is beside the tooltip, and less where it would not fit. */
      .tips::before {
        content: "";
        flex: 0 1 calc(var(--x) + 14px);
      }
      .tip {
        flex: none;
        max-width: min(280px, 100%);
        padding: 8px 12px;
        border: 1px solid var(--_border);
        border-radius: var(--_radius);
        background: var(--_sheet);
        box-shadow: 0 6px 20px rgb(0 0 0 / 12%);
        font-size: 13px;
      }
      .tip div {
        display: flex;
        align-items: center;
        gap: 16px;
        justify-content: space-between;
      }
      .tip span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .tip b,
      .tip .number {
        flex: none;
        font-weight: 600;
      }
      .legend {
        display: flex;
        flex-wrap: wrap;
        gap: 4px 18px;
        margin: 12px 0 0;
        padding: 0;
        list-style: none;
        font-size: 13px;
        color: var(--_muted);
      }
      .legend li {
        display: flex;
        align-items: center;
        max-width: 100%;
        white-space: nowrap;
      }
      .key {
        display: inline-block;
        flex: none;
        width: 9px;
        height: 9px;
        margin-inline-end: 8px;
        border-radius: 3px;
        background: var(--c);
      }
      .key.dashed {
        width: 14px;
        height: 0;
        border-block-start: 2px dashed var(--_muted);
        border-radius: 0;
        vertical-align: middle;
        background: none;
      }
      .back {
        min-height: 28px;
        margin-inline-start: auto;
        font-size: 13px;
      }
    `,
  ];

  constructor() {
    super();
    this.kind = "area";
    this.width = 0;
  }

  protected override asksBy(): readonly string[] {
    return ["measure", "groupBy"];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.hasUpdated) this.#observe();
    window.addEventListener("beforeprint", this.#print);
    window.addEventListener("afterprint", this.#print);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#follow(undefined);
    this.#resize?.disconnect();
    window.removeEventListener("beforeprint", this.#print);
    window.removeEventListener("afterprint", this.#print);
  }

  override firstUpdated(changed: PropertyValues): void {
    super.firstUpdated(changed);
    this.#observe();
  }

  #observe(): void {
    this.#resize = new ResizeObserver(([entry]) => (this.width = entry?.contentRect.width ?? 0));
    this.#resize.observe(this.renderRoot.querySelector(".body") as Element);
  }

  readonly #print = (event: globalThis.Event): void => {
    this.hovered = undefined;
    this.width = event.type === "beforeprint" ? WIDTH_UNKNOWN : (this.renderRoot.querySelector(".body")?.clientWidth ?? 0);
    this.performUpdate(); // the sheet is laid out as soon as this returns
  };

  /** The page's figures are buttons while there is a chart that shows what is chosen. */
  #follow(page: Page | undefined): void {
    if (page === this.#followed) return;
    if (this.#followed) this.#followed.followers -= 1;
    if (page) page.followers += 1;
    this.#followed = page;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    super.willUpdate(changed);
    if (this.isConnected) this.#follow(this.measure || this.groupBy ? undefined : this.page);
    if (this.#asked && this.#asked.measure !== this.#measure) this.page.askAgain(this);
  }

  get #measure(): string {
    return this.measure ?? (this.groupBy ? "events" : this.page.measure);
  }

  /** Cheap ones, and what is looked at first. */
  readonly rank = -1;

  override questions(page: Page): Record<string, Question> {
    const before = page.comparedRange;
    const interval = this.#interval(page);
    const own = isOwn(this.#measure) ? { measure: [this.#measure] } : {};
    const axis = { endpoint: "timeseries", interval, fill: true, ...own };
    this.#asked = { measure: this.#measure, groupBy: this.groupBy, range: page.range, compared: before, interval };
    if (this.groupBy) {
      // Sums of averages or of users would be wrong, so the node says which are the greatest, and what the others are.
      const greatest = isOwn(this.#measure) ? { top: SERIES_MAX - 1, other: true } : {};
      return { now: { ...axis, ...greatest, groupBy: this.groupBy } };
    }
    const questions: Record<string, Question> = { axis, now: axis };
    if (this.#counts) {
      questions["now"] = { endpoint: "active", interval, by: this.#measure === "users" ? "user" : "session" };
    }
    if (before) {
      const range = endsOf(before);
      questions["axis_before"] = { ...axis, ...range };
      questions["before"] = { ...questions["now"], ...range } as Question;
    }
    return questions;
  }

  /** Whether users or sessions are asked for. */
  get #counts(): boolean {
    return this.#measure === "users" || this.#measure === "sessions";
  }

  /** Numbers in the unit of the measure. */
  get #units(): Format {
    return this.format.as(unitOf(this.#shown.measure, this.currency));
  }

  /** Users and sessions are counted by days, not by hours. */
  #interval(page: Page): Interval {
    return this.#counts && isOfClock(page.interval) ? "day" : page.interval;
  }

  override receive(answers: Answers): void {
    this.#shown = this.#asked;
    super.receive(answers);
  }

  protected override defaultHeading(): string {
    return this.#nameOf(this.#shown?.measure ?? this.#measure);
  }

  #nameOf(measure: string): string {
    return isOwn(measure) ? (this.heading ?? measure) : this.format.text(measure as Measure);
  }

  protected override isEmpty(): boolean {
    return !this.answer<Answer>("now").points.some(({ value }) => value);
  }

  // Data

  get #data(): Picture {
    const { points } = this.answer<Answer>("now");
    const axis = this.#shown.groupBy ? points : this.answer<Answer>("axis").points;
    const buckets = [...new Set(axis.map(({ bucket }) => bucket))].sort((a, b) => Date.parse(a) - Date.parse(b));
    const last = axis.findLast(({ bucket }) => bucket === buckets.at(-1));
    const partial = buckets.length > 1 && last?.partial === true;
    if (!this.#shown.groupBy) return { buckets, series: [{ name: this.#nameOf(this.#shown.measure), values: onAxis(points, axis) }], partial };
    const index = new Map(buckets.map((bucket, i) => [bucket, i]));
    const other = this.format.text("other");
    const nothingThere = (): (number | null)[] => new Array<number | null>(buckets.length).fill(isSum(this.#shown.measure) ? 0 : null);
    const values = new Map(largest(points).map((name) => [name, nothingThere()]));
    for (const point of points) {
      const name = point.other ? other : (point.series ?? NO_NAME);
      const into = values.get(name) ?? values.get(other) ?? nothingThere();
      if (!values.has(name)) values.set(other, into);
      const i = index.get(point.bucket) as number;
      if (point.value !== null) into[i] = (into[i] ?? 0) + point.value;
    }
    return { buckets, series: [...values].map(([name, list]) => ({ name, values: list })), partial };
  }

  /**
   * Without the groups of which nothing is to be seen, as plans without revenue: their names would hide the others in the legend,
   * and take their colours. The table has them.
   */
  get #seen(): Picture {
    const { groupBy, measure } = this.#shown;
    const data = this.#data;
    if (!groupBy) return data;
    const unseen = isSum(measure) ? 0 : null;
    return { ...data, series: data.series.filter(({ values }) => values.some((value) => value !== null && value !== unseen)) };
  }

  /** What is compared with: for each interval of the axis a value and the start of its own, and the sum. */
  get #before(): Before | undefined {
    if (this.#shown.groupBy || !this.#shown.compared) return undefined;
    const { before, axis_before: axis } = this.answers as unknown as Record<string, Answer | undefined>;
    if (!before?.points || !axis?.points) return undefined;
    const values = onAxis(before.points, axis.points);
    const buckets = axis.points.map(({ bucket }) => bucket);
    const now = this.answer<Answer>("axis").points.map(({ bucket }) => bucket);
    const places = isOfClock(this.#shown.interval) ? sameHours(now, buckets) : now.map((_, i) => i);
    return {
      values: places.map((i) => (i === undefined ? undefined : values[i])),
      buckets: places.map((i) => (i === undefined ? undefined : buckets[i])),
      total: values.reduce<number>((sum, value) => sum + (value ?? 0), 0),
    };
  }

  protected override table(): Table {
    const f = this.format;
    const { buckets, series } = this.#data;
    const before = this.#before;
    return {
      head: [f.text("time"), ...series.map(({ name }) => name), ...(before ? [f.text("previous")] : [])],
      read: (key) => this.#name(buckets.find((bucket) => bucket.startsWith(key))),
      rows: buckets.map((bucket, i) => [
        isOfClock(this.#shown.interval) ? bucket : bucket.slice(0, 10),
        ...series.map(({ values }) => values[i] ?? ""),
        ...(before ? [before.values[i] ?? ""] : []),
      ]),
    };
  }

  #name(bucket: string | undefined): string {
    return bucket === undefined ? "" : this.format.bucket(new Date(bucket), this.#shown.interval);
  }

  // Picture

  protected override actions(): unknown {
    if (!this.page.isZoomed || this.groupBy) return nothing;
    return html`<button class="button quiet back" @click=${() => this.#zoomOut()}>${this.format.text("zoom_out")}</button>`;
  }

  protected override content(): TemplateResult {
    const f = this.format;
    const units = this.#units;
    const picture = this.#seen;
    const { buckets, series, partial } = picture;
    const before = this.#before;
    const count = buckets.length;
    const stacked = this.kind === "bars" || (Boolean(this.#shown.groupBy) && this.kind !== "line");
    const layers = stacked ? stack(series) : series.map(({ values }) => ({ from: values.map(() => 0), to: values }));
    const drawn = [...layers.flatMap(({ to }) => to), ...(before?.values ?? [])].map((value) => value ?? 0);
    const lines = valuesBetween(Math.min(...drawn), Math.max(...drawn), !isOwn(this.#shown.measure));
    const [least, most] = [lines[0] as number, lines.at(-1) as number];
    const part = (value: number): string => `${(value / (most - least)) * 100}%`;
    const y = (value: number): string => part(value - least);
    // The zero at the bottom needs no name.
    const texts = lines.map((value) => (value === least && value === 0 ? "" : units.short(value, Math.max(most, -least))));
    const measure = measureBy(this);
    const left = Math.ceil(Math.max(...texts.map(measure))) + 12;
    return html`<div class="chart" part="chart" role="group" tabindex="0" aria-label=${this.#summary(picture)} aria-description=${f.text("chart_keys")}
        ${cssVar("--left", `${left}px`)}
        @pointermove=${this.#hover} @pointerleave=${this.#leave} @pointerdown=${this.#press} @pointerup=${this.#release}
        @dblclick=${this.#zoomOut} @keydown=${this.#key} @blur=${this.#leave}>
        <div class="plot" aria-hidden="true">
          ${lines.map((value, i) => html`<div class="grid ${value ? "" : "zero"}" ${cssVar("--y", y(value))}></div>
            ${texts[i] ? html`<div class="value" ${cssVar("--y", y(value))}>${texts[i]}</div>` : nothing}`)}
          ${this.kind === "bars" ? this.#bars(layers, y, part, partial) : nothing}${this.#lines(layers, { least, most }, stacked, partial, before?.values)}
          ${count === 1 && !stacked ? this.#dots(layers, 0, y) : nothing}
          ${this.#ticks(buckets, left, measure)}
          ${this.#brush(count)}
          ${this.hovered === undefined || this.hovered >= count
            ? nothing
            : html`<div class="cross" ${cssVar("--x", this.#x(this.hovered, count))}></div>
                ${stacked ? nothing : this.#dots(layers, this.hovered, y)}${this.#tip(picture, this.hovered)}`}
        </div>
      </div>
      ${this.#legend(series)}${this.hiddenTable()}
      <div class="sr" aria-live="polite">${this.#spoken(picture)}</div>`;
  }

  /** The middle of an interval, as a part of the plot. */
  #at(i: number, count: number): number {
    return this.kind === "bars" ? (i + 0.5) / count : count > 1 ? i / (count - 1) : 0.5;
  }

  #x(i: number, count: number): string {
    return `${this.#at(i, count) * 100}%`;
  }

  #bars(layers: readonly Layer[], y: (value: number) => string, part: (value: number) => string, partial: boolean): TemplateResult[] {
    return layers.flatMap(({ from, to }, s) => to.map((value, i) => {
      if (value === null) return html``;
      const start = from[i] as number;
      const width = 0.72 / to.length;
      const isLast = layers.slice(s + 1).every((layer) => Math.sign((layer.to[i] ?? 0) - (layer.from[i] ?? 0)) !== Math.sign(value - start));
      const names = ["bar fill", isLast && "last", value < start && "down", partial && i === to.length - 1 && "partial"];
      return html`<div class=${names.filter(Boolean).join(" ")} ${cssVar("--c", color(s))} ${cssVar("--x", `${(this.#at(i, to.length) - width / 2) * 100}%`)}
        ${cssVar("--w", `${width * 100}%`)} ${cssVar("--y", y(Math.min(start, value)))} ${cssVar("--h", part(Math.abs(value - start)))}></div>`;
    }));
  }

  #lines(layers: readonly Layer[], { least, most }: Scale, stacked: boolean, partial: boolean, before: Before["values"] | undefined): TemplateResult {
    const count = layers[0]?.to.length ?? 0;
    const place = (value: number, i: number): Place =>
      [this.#at(i, count) * UNITS, UNITS - ((value - least) / (most - least)) * UNITS];
    const line = (values: Before["values"], from = 0): string =>
      pathOf(values.flatMap((value, i) => (value === undefined ? [] : [value === null ? null : place(value, i)])).slice(from));
    const area = ({ from, to }: Layer): string =>
      runs(to.map((value, i) => (value === null ? null : { over: place(value, i), under: place(from[i] ?? 0, i) })))
        .map((run) => `${pathOf([...run.map(({ over }) => over), ...run.map(({ under }) => under).reverse()])}Z`).join("");
    const end = partial ? count - 1 : count;
    return html`<svg viewBox="0 0 ${UNITS} ${UNITS}" preserveAspectRatio="none">
      ${before ? svg`<path class="previous" d=${line(before)}/>` : nothing}
      ${this.kind === "bars" ? nothing : layers.map((layer, s) => stacked
        ? svg`<path class="stacked" ${cssVar("--c", color(s))} d=${area(layer)}/>`
        : svg`${this.kind === "area" && layers.length === 1
              ? svg`<path class="area" ${cssVar("--c", color(s))} d=${area(layer)}/>`
              : nothing}
            <path class="line" ${cssVar("--c", color(s))} d=${line(layer.to.slice(0, end))}/>
            ${partial ? svg`<path class="line partial" ${cssVar("--c", color(s))} d=${line(layer.to, end - 1)}/>` : nothing}`)}
    </svg>`;
  }

  #dots(layers: readonly Layer[], i: number, y: (value: number) => string): TemplateResult[] {
    return layers.map(({ to }, s) => to[i] === null ? html`` : html`<div class="dot fill" ${cssVar("--c", color(s))}
      ${cssVar("--x", this.#x(i, to.length))} ${cssVar("--y", y(to[i] ?? 0))}></div>`);
  }

  #ticks(buckets: readonly string[], left: number, measure: (text: string) => number): TemplateResult[] {
    const f = this.format;
    const { interval } = this.#shown;
    const hour = (i: number): number => Number(buckets[i]?.slice(11, 13));
    const clock = (i: number): number => (interval === "minute" ? hour(i) * 60 + Number(buckets[i]?.slice(14, 16)) : hour(i));
    // Of several days each midnight has its date.
    const days = isOfClock(interval) && buckets[0]?.slice(0, 10) !== buckets.at(-1)?.slice(0, 10);
    const texts = buckets.map((bucket, i) => f.tick(new Date(bucket), days && clock(i) === 0 ? "day" : interval));
    const plot = Math.max(1, (this.width || WIDTH_UNKNOWN) - left - 4);
    const at = (i: number): number => this.#at(i, buckets.length) * plot;
    return labels(buckets.length, interval, clock, at, (i) => measure(texts[i] as string), [-left, plot + 2]).map(
      ({ i, at: x }) => html`<span class="tick" ${cssVar("--x", `${(x / plot) * 100}%`)}>${texts[i]}</span>`,
    );
  }

  #brush(count: number): unknown {
    if (this.selected === undefined || this.hovered === undefined) return nothing;
    const [a, b] = [this.#at(this.selected, count), this.#at(this.hovered, count)].sort((one, other) => one - other) as [number, number];
    return html`<div class="brush fill" ${cssVar("--x", `${a * 100}%`)} ${cssVar("--w", `${(b - a) * 100}%`)}></div>`;
  }

  #tip({ buckets, series, partial }: Picture, i: number): TemplateResult {
    const f = this.format;
    const count = buckets.length;
    const at = this.#at(i, count);
    const before = this.#before;
    const compared = before?.values[i];
    const unfinished = partial && i === count - 1;
    // What is not over yet is not to be compared with what is.
    const only = series.length === 1 && !unfinished ? series[0]?.values[i] : undefined;
    const change = typeof only === "number" ? f.change(only, compared ?? undefined) : undefined;
    const low = Number.NEGATIVE_INFINITY;
    const shown = series.map((one, s) => ({ ...one, s, value: one.values[i] ?? null })).sort((a, b) => (b.value ?? low) - (a.value ?? low) || 0);
    return html`<div class="tips ${at > 0.5 ? "end" : ""}" ${cssVar("--x", `${(at > 0.5 ? 1 - at : at) * 100}%`)}><div class="tip">
      <div><span>${this.#name(buckets[i])}</span>${unfinished ? html`<span class="muted">${f.text("so_far")}</span>` : nothing}</div>
      ${shown.map(({ name, value, s }) => html`<div><span dir="auto"><i class="key fill" ${cssVar("--c", color(s))}></i>${name}</span><b class="number">${this.#exact(value)}</b></div>`)}
      ${compared === undefined
        ? nothing
        : html`<div class="muted"><span><i class="key dashed"></i>${this.#name(before?.buckets[i])}</span><span class="number">${this.#exact(compared)}</span></div>`}
      ${change ? html`<div>${changeOf(f, change, change.sign > 0 ? "up" : "down")}</div>` : nothing}
    </div></div>`;
  }

  #exact(value: number | null | undefined): string {
    return typeof value === "number" ? this.#units.exact(value) : "–";
  }

  #legend(series: readonly Series[]): unknown {
    const f = this.format;
    const { range, compared, groupBy } = this.#shown;
    const before = this.#before && compared;
    if (!groupBy && !before) return nothing;
    return html`<ul class="legend" part="legend" aria-hidden=${groupBy ? "false" : "true"}>
      ${series.map(({ name }, s) => html`<li><i class="key fill" ${cssVar("--c", color(s))}></i><bdi class="clipped">${groupBy ? name : f.range(range)}</bdi></li>`)}
      ${before ? html`<li><i class="key dashed"></i>${f.range(before)}</li>` : nothing}
    </ul>`;
  }

  // Words

  /** The chart in sentences: "Events, 1 – 30 Nov 2026: 12,400, up 8 % on 2 – 31 Oct 2026. Most on 24 November: 812." */
  #summary({ buckets, series, partial }: Picture): string {
    const f = this.format;
    const sums = buckets.map((_, i) => series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0));
    const known = sums.filter((_, i) => series.some(({ values }) => typeof values[i] === "number"));
    const peak = sums.indexOf(Math.max(...known));
    const { range, compared, measure } = this.#shown;
    const days = f.range(range);
    const heading = this.heading ?? this.defaultHeading();
    const most = f.text("chart_peak", this.#name(buckets[peak]), this.#units.exact(sums[peak] ?? 0));
    // People who come on two days are one person: their days do not add up. Nor do averages.
    if (!isSum(measure)) return `${heading}, ${days}. ${most}`;
    const total = sums.reduce((a, b) => a + b, 0);
    // The last interval is not over yet, so neither it nor what it is compared with counts for the trend.
    const unfinished = partial ? buckets.length - 1 : undefined;
    const [now, before] = [sums[unfinished ?? -1] ?? 0, this.#before?.values[unfinished ?? -1] ?? 0];
    const change = f.change(total - now, this.#before && this.#before.total - before);
    const trend = change && compared ? `, ${f.text("compared_with", f.changed(change), f.range(compared))}` : "";
    return `${f.text("chart_summary", heading, days, this.#units.exact(total) + trend)} ${most}`;
  }

  #spoken({ buckets, series }: Picture): string {
    const i = this.hovered;
    const f = this.format;
    if (i === undefined || i >= buckets.length) return this.#said;
    if (this.selected !== undefined && this.selected !== i) {
      return f.text("selected", f.range(this.#between(this.selected, i)));
    }
    const values = series.map(({ name, values: list }) => `${name} ${this.#exact(list[i])}`);
    return `${this.#name(buckets[i])}: ${values.join(", ")}`;
  }

  // Pointer and keys

  /** From one interval to another, within the range. */
  #between(one: number, other: number): Range {
    const { range, interval } = this.#shown;
    return partOf(range, interval, this.#data.buckets, Math.min(one, other), Math.max(one, other));
  }

  #zoom(one: number, other: number): void {
    const range = this.#between(one, other);
    this.#leave();
    if (range.from === this.page.range.from && range.to === this.page.range.to) return;
    this.#said = this.format.range(range);
    this.page.zoom(range);
  }

  readonly #zoomOut = (): void => {
    this.#leave();
    this.page.zoomOut();
    this.#said = this.format.range(this.page.range);
    this.renderRoot.querySelector<HTMLElement>(".chart")?.focus(); // the button is gone
  };

  #under(event: PointerEvent): number {
    const box = (this.renderRoot.querySelector(".plot") as Element).getBoundingClientRect();
    const count = this.#data.buckets.length;
    const at = (event.clientX - box.left) / box.width;
    const i = this.kind === "bars" ? Math.floor(at * count) : Math.round(at * (count - 1));
    return Math.min(count - 1, Math.max(0, i));
  }

  readonly #hover = (event: PointerEvent): void => {
    this.hovered = this.#under(event);
  };

  readonly #leave = (event?: globalThis.Event): void => {
    // A selection by pointer goes on outside of the chart.
    if (event?.type === "pointerleave" && this.selected !== undefined) return;
    this.hovered = this.selected = undefined;
  };

  readonly #press = (event: PointerEvent): void => {
    // A finger scrolls the page and reads the values.
    if (event.pointerType === "touch" || event.button !== 0) return;
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    this.hovered = this.selected = this.#under(event);
  };

  readonly #release = (event: PointerEvent): void => {
    const from = this.selected;
    this.selected = undefined;
    if (from !== undefined && from !== this.#under(event)) this.#zoom(from, this.#under(event));
  };

  readonly #key = (event: KeyboardEvent): void => {
    const last = this.#data.buckets.length - 1;
    const now = this.hovered ?? (event.key === "ArrowLeft" ? last + 1 : -1);
    const moves: Record<string, number> = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: last };
    const to = moves[event.key];
    if (to !== undefined) {
      this.selected = event.shiftKey ? (this.selected ?? this.hovered ?? Math.min(last, Math.max(0, to))) : undefined;
      this.hovered = Math.min(last, Math.max(0, to));
    } else if (event.key === "Enter" && this.selected !== undefined && this.hovered !== undefined) {
      this.#zoom(this.selected, this.hovered);
    } else if (event.key === "Backspace" && this.page.isZoomed) {
      this.#zoomOut();
    } else {
      if (event.key === "Escape") this.#leave();
      return;
    }
    event.preventDefault();
  };
}

/** Events without the dimension. */
const NO_NAME = "–";

function color(series: number): string {
  return `var(--_s${(series % SERIES_MAX) + 1})`;
}

/** Each series on top of those before it, and under the axis below those before it. */
function stack(series: readonly Series[]): Layer[] {
  const [above, below]: [number[], number[]] = [[], []];
  return series.map(({ values }) => {
    const from: number[] = [];
    const to = values.map((value, i) => {
      const side = (value ?? 0) < 0 ? below : above;
      from.push(side[i] ?? 0);
      return (side[i] = (side[i] ?? 0) + (value ?? 0));
    });
    return { from, to };
  });
}

/** Whether its values of several intervals or groups may be added up, so that no events are 0. */
function isSum(measure: string): boolean {
  return measure === "events" || /^(sum|count)\b/.test(measure);
}

/** How wide a text of the axes is, in pixels. */
function measureBy(element: Element): (text: string) => number {
  const context = document.createElement("canvas").getContext("2d");
  if (!context) return (text) => text.length * 8;
  context.font = `12px ${getComputedStyle(element).fontFamily}`;
  return (text) => context.measureText(text).width;
}

/** The names of the series with the most events; the others become one. */
function largest(points: readonly Point[]): string[] {
  const sums = new Map<string, number>();
  for (const point of points) {
    if (point.other) continue;
    const name = point.series ?? NO_NAME;
    sums.set(name, (sums.get(name) ?? 0) + (point.value ?? 0));
  }
  const names = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  return names.length > SERIES_MAX ? names.slice(0, SERIES_MAX - 1) : names;
}
