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
        display: grid;
        grid-auto-columns: minmax(0, 1fr);
        grid-auto-flow: column;
        gap: 0;
        margin: 0;
        padding: 0;
        list-style: none;
      }
      li {
        display: grid;
        grid-template-rows: auto 132px auto;
        gap: 8px;
        min-width: 0;
      }
      .name {
        padding-inline-end: 12px;
        font-weight: 500;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .bars {
        position: relative;
        display: grid;
        grid-template-columns: minmax(0, 1fr) minmax(0, 0.55fr);
        align-items: end;
      }
      li:last-child .bars {
        grid-template-columns: minmax(0, 1fr) 0;
      }
      .bar {
        height: max(3px, var(--height));
        border-radius: 6px 6px 2px 2px;
        background: var(--_accent);
      }
      .slope {
        height: max(3px, var(--height));
        background: color-mix(in oklab, var(--_accent) 15%, transparent);
        clip-path: polygon(0 0, 100% calc(100% - var(--next)), 100% 100%, 0 100%);
      }
      .slope:dir(rtl) {
        transform: scaleX(-1);
      }
      .rate {
        position: absolute;
        inset-block-end: 6px;
        inset-inline-end: 0;
        width: 35%;
        text-align: center;
        font-size: 12px;
        font-weight: 600;
        font-variant-numeric: tabular-nums;
      }
      .count {
        font-size: 18px;
        font-weight: 600;
        font-variant-numeric: tabular-nums;
        letter-spacing: -0.01em;
      }
      .detail {
        font-size: 13px;
        color: var(--_muted);
        white-space: nowrap;
      }
      @container (max-width: 600px) {
        ol {
          grid-auto-flow: row;
          gap: 14px;
        }
        li {
          grid-template-rows: auto auto auto;
          gap: 4px;
        }
        .bars,
        li:last-child .bars {
          display: block;
          height: 14px;
          border-radius: 7px;
          background: var(--_fill);
        }
        .bar {
          height: 100%;
          width: var(--height);
          border-radius: 7px;
        }
        .slope,
        .rate {
          display: none;
        }
        .numbers {
          display: flex;
          align-items: baseline;
          gap: 10px;
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
        const height = `${step.conversion * 100}%`;
        const median = step.medianSecondsFromPrevious;
        return html`<li ${cssVar("--height", height)} ${cssVar("--next", `${(next && step.count ? next.count / step.count : 0) * 100}%`)}>
          <span class="name" title=${step.eventType}><bdi>${step.eventType}</bdi></span>
          <div class="bars" aria-hidden="true">
            <div class="bar"></div>
            ${next ? html`<div class="slope"></div><span class="rate">${f.percent(next.conversionFromPrevious)}</span>` : nothing}
          </div>
          <div class="numbers">
            <div class="count" title=${f.exact(step.count)}>${f.short(step.count)}</div>
            <div class="detail">${f.percent(step.conversion)}${median === undefined ? nothing : html` · ${f.text("median_time")} ${f.duration(median)}`}</div>
          </div>
        </li>`;
      })}
    </ol>`;
  }

  protected override table(): Table {
    const f = this.format;
    const { steps } = this.answer<{ steps: Step[] }>("funnel");
    return {
      head: [f.text("event_type"), f.text("users"), f.text("share"), `${f.text("median_time")} (s)`],
      rows: steps.map((step) => [step.eventType, step.count, step.conversion, step.medianSecondsFromPrevious ?? ""]),
    };
  }
}
