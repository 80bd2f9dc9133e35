/** `<nealytics-funnel steps="signup, activated, paid">`: how many get from step to step. */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";

interface Step {
  readonly eventType: string;
  readonly count: number;
  readonly conversion: number;
  readonly conversionFromPrevious: number;
  readonly medianSecondsFromPrevious?: number;
}

export class NealyticsFunnel extends Card {
  static override properties = { steps: {}, window: {}, by: {} };
  declare steps: string;
  declare window: string;
  declare by: "user" | "session";

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
  }

  protected override asksBy(): readonly string[] {
    return ["steps", "window", "by"];
  }

  override questions(_page: Page): Record<string, Question> {
    const step = this.steps.split(",").map((name) => name.trim()).filter(Boolean);
    return { funnel: { endpoint: "funnel", step, window: this.window, by: this.by } };
  }

  protected override defaultHeading(): string {
    return this.format.text("funnel");
  }

  protected override isEmpty(): boolean {
    return !this.answer<{ steps: Step[] }>("funnel").steps[0]?.count;
  }

  protected override content(): TemplateResult {
    const f = this.format;
    const { steps } = this.answer<{ steps: Step[] }>("funnel");
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
          </div>
        </li>`;
      })}
    </ol>`;
  }

  protected override table(): Table {
    const f = this.format;
    const { steps } = this.answer<{ steps: Step[] }>("funnel");
    return {
      head: [
        f.text("event_type"), f.text(this.by === "session" ? "sessions" : "users"),
        ...(["of_first", "of_previous"] as const).map((key) => f.text(key, "").trim()), `${f.text("median_time")} (s)`,
      ],
      rows: steps.map((step) => [
        step.eventType, step.count, step.conversion, step.conversionFromPrevious, step.medianSecondsFromPrevious ?? "",
      ]),
    };
  }
}
