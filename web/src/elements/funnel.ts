/**
 * `<nealytics-funnel steps="signup, activated, paid">`: how many get from step to step.
 *
 * `order` is `sequence`, `strict` or `any`; `exclude` lists event types that end it, `2:refund` before step 2 only.
 * `breakdown` lists the conversion of each value of a dimension below it. With `measure`, one of the API such as
 * `sum(meta:amount)`, each step has its value, in its `currency`.
 */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import { type Page, unitOf } from "../data/page.ts";
import { Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";
import { nameOf } from "./top.ts";

interface Step {
  readonly eventType: string;
  /** Of the measure; without one the count. */
  readonly value: number | null;
  readonly count: number;
  readonly conversion: number;
  readonly conversionFromPrevious: number;
  readonly medianSecondsFromPrevious?: number;
}

interface Group {
  readonly key?: string;
  readonly steps: readonly Step[];
}

interface Answer {
  readonly steps: readonly Step[];
  readonly groups?: readonly Group[];
}

export class NealyticsFunnel extends Card {
  static override properties = { steps: {}, window: {}, by: {}, order: {}, exclude: {}, breakdown: {}, measure: {}, currency: {} };
  declare steps: string;
  declare window: string;
  declare by: "user" | "session";
  declare order: "sequence" | "strict" | "any";
  declare exclude: string | undefined;
  declare breakdown: string | undefined;
  declare measure: string | undefined;
  declare currency: string | undefined;

  static override styles = [
    ...Card.styles,
    css`
      .block {
        height: 220px;
      }
      ol {
        display: flex;
        margin: 0;
        padding: 0;
        list-style: none;
      }
      /* A bar and the way to the next one; the last has only its bar, as wide as the others. */
      li {
        flex: 1.6 1 0;
        display: grid;
        grid-template-rows: auto 132px auto;
        align-content: start;
        gap: 8px;
        min-width: 0;
      }
      li:last-child {
        flex-grow: 1;
      }
      .name {
        min-width: 0;
        padding-inline-end: 12px;
        font-weight: 500;
      }
      .bars {
        display: grid;
        grid-template-columns: minmax(0, 1fr) minmax(0, 0.6fr);
        align-items: end;
      }
      li:last-child .bars {
        grid-template-columns: minmax(0, 1fr);
      }
      .bar {
        height: max(3px, var(--height));
        border-radius: var(--_small) var(--_small) 0 0;
        background: var(--_accent);
      }
      .gap {
        position: relative;
        display: grid;
        align-items: end;
        height: 100%;
      }
      .gap span {
        position: absolute;
        inset: auto 0 6px;
        font-size: 13px;
        font-weight: 600;
        font-variant-numeric: tabular-nums;
        text-align: center;
      }
      .slope {
        height: max(3px, var(--height));
        background: color-mix(in oklab, var(--_accent) 15%, transparent);
        clip-path: polygon(0 0, 100% calc(100% - var(--next)), 100% 100%, 0 100%);
      }
      .slope:dir(rtl) {
        transform: scaleX(-1);
      }
      .numbers {
        padding-inline-end: 12px;
        font-size: 13px;
        font-variant-numeric: tabular-nums;
      }
      li:last-child .numbers {
        padding: 0;
      }
      .numbers span {
        display: block;
        color: var(--_muted);
      }
      .numbers .count {
        color: inherit;
        font-size: 18px;
        font-weight: 600;
        letter-spacing: -0.01em;
      }
.groups {
        display: block;
        margin: 16px 0 0;
        border-block-start: 1px solid var(--_border);
        padding: 8px 0 0;
        list-style: none;
        font-size: 13px;
        font-variant-numeric: tabular-nums;
      }
      .groups li {
        display: grid;
        grid-template: auto / minmax(0, 1fr) auto 5em;
        gap: 12px;
        padding-block: 4px;
      }
      .groups li > :not(:first-child) {
        text-align: end;
      }
      @container (max-width: 600px) {
        ol {
          display: grid;
          gap: 12px;
        }
        li {
          grid-template-rows: auto;
          gap: 4px;
        }
        .bars,
        li:last-child .bars {
          display: block;
          height: 14px;
          border-radius: var(--_small);
          background: var(--_fill);
        }
        .bar {
          height: 100%;
          width: max(3px, var(--height));
          border-radius: var(--_small);
        }
        .gap {
          display: none;
        }
        .numbers {
          display: flex;
          flex-wrap: wrap;
          align-items: baseline;
          gap: 0 8px;
          padding: 0;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.steps = "";
    this.window = "7d";
    this.by = "user";
    this.order = "sequence";
  }

  protected override asksBy(): readonly string[] {
    return ["steps", "window", "by", "order", "exclude", "breakdown", "measure"];
  }

  override questions(_page: Page): Record<string, Question> {
    const { window, by, order } = this;
    const exclude = namesOf(this.exclude);
    return {
      funnel: {
        endpoint: "funnel", step: namesOf(this.steps), window, by,
        ...(order === "sequence" ? {} : { order }),
        ...(exclude.length > 0 ? { exclude } : {}),
        ...(this.breakdown ? { breakdown: this.breakdown, limit: GROUPS } : {}),
        ...(this.measure ? { measure: [this.measure] } : {}),
      },
    };
  }

  protected override defaultHeading(): string {
    return this.format.text("funnel");
  }

  protected override isEmpty(): boolean {
    return !this.answer<Answer>("funnel").steps[0]?.count;
  }

  protected override content(): TemplateResult {
    const f = this.format;
    const { steps, groups } = this.answer<Answer>("funnel");
    return html`<ol part="funnel">
      ${steps.map((step, i) => {
        const next = steps[i + 1];
        const median = step.medianSecondsFromPrevious;
        return html`<li ${cssVar("--height", `${step.conversion * 100}%`)} ${cssVar("--next", `${(next && step.count ? next.count / step.count : 0) * 100}%`)}>
          <span class="name" title=${step.eventType}><bdi class="clipped">${step.eventType}</bdi></span>
          <div class="bars" aria-hidden="true"><div class="bar fill"></div>
            ${next ? html`<div class="gap"><div class="slope fill"></div><span>${f.percent(next.conversionFromPrevious)}</span></div>` : nothing}</div>
          <div class="numbers">
            <span class="count" title=${f.exact(step.count)}>${f.short(step.count)}</span>
            ${i > 0 ? html`<span class="rate">${f.text("of_previous", f.percent(step.conversionFromPrevious))}</span>` : nothing}
            ${i > 1 ? html`<span class="detail">${f.text("of_first", f.percent(step.conversion))}</span>` : nothing}
            ${i === 0 || median === undefined ? nothing : html`<span class="median">${f.text("median_time")} ${f.duration(median)}</span>`}
            ${this.measure ? this.#value(this.measure, step.value) : nothing}
          </div>
        </li>`;
      })}
    </ol>
    ${groups ? this.#groups(groups) : nothing}`;
  }

  #value(measure: string, value: number | null): TemplateResult {
    const units = this.format.as(unitOf(measure, this.currency));
    return html`<span class="value" title=${`${measure}${value === null ? "" : `: ${units.exact(value)}`}`}>${value === null ? "–" : units.short(value)}</span>`;
  }

  /** Of each group how many begin, and the share that ends. */
  #groups(groups: readonly Group[]): TemplateResult {
    const f = this.format;
    return html`<ul class="groups" part="groups" aria-label=${nameOf(f, this.breakdown ?? "")}>
      ${groups.map(({ key, steps }) => html`<li><bdi class="clipped">${key ?? "–"}</bdi>
        <span class="count" title=${f.exact(steps[0]?.count ?? 0)}>${f.short(steps[0]?.count ?? 0)}</span>
        <b class="rate">${f.percent(steps.at(-1)?.conversion ?? 0)}</b></li>`)}
    </ul>`;
  }

  protected override table(): Table {
    const f = this.format;
    const { steps, groups } = this.answer<Answer>("funnel");
    const rowOf = (step: Step): (string | number)[] => [
      step.eventType, step.count, step.conversion, step.conversionFromPrevious, step.medianSecondsFromPrevious ?? "",
      ...(this.measure ? [step.value ?? ""] : []),
    ];
    return {
      head: [
        f.text("event_type"), f.text(this.by === "session" ? "sessions" : "users"),
        ...(["of_first", "of_previous"] as const).map((key) => f.text(key, "").trim()), `${f.text("median_time")} (s)`,
        ...(this.measure ? [this.measure] : []), ...(groups ? [nameOf(f, this.breakdown ?? "")] : []),
      ],
      rows: [
        ...steps.map((step) => [...rowOf(step), ...(groups ? [""] : [])]),
        ...(groups ?? []).flatMap((group) => group.steps.map((step) => [...rowOf(step), group.key ?? "–"])),
      ],
    };
  }
}

/** How many groups are listed, those with the most starts. */
const GROUPS = 8;

function namesOf(list: string | undefined): string[] {
  return (list ?? "").split(",").map((name) => name.trim()).filter(Boolean);
}
