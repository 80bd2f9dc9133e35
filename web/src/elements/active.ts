/**
 * `<nealytics-active>`: how many people are active in a day, a week and a month, and how much of the month they
 * come.
 *
 * The counts are those of the last day of the range that is over, and of the 7 and 30 days that end with it. The
 * stickiness is that of the average day: of those active in 30 days the share active on the day.
 */

import { css, html, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";
import { spark, sparkStyles } from "./spark.ts";

interface Point {
  readonly bucket: string;
  readonly partial?: boolean;
  readonly activeCount: number;
  readonly rollingCount: number;
  readonly stickiness: number;
}
interface Answer {
  readonly points: readonly Point[];
}

/** A day that is over, with those active on it and up to it. */
interface Day {
  readonly start: string;
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
  readonly stickiness: number;
}
const SPANS = ["daily", "weekly", "monthly"] as const;

export class NealyticsActive extends Card {
  static override properties = { by: {} };
  declare by: "user" | "session";

  static override styles = [
    ...Card.styles,
    sparkStyles,
    css`
      .block {
        height: 172px;
      }
      .meter {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        align-items: baseline;
        gap: 8px 12px;
      }
      .value {
        font-size: 28px;
        line-height: 32px;
        font-weight: 600;
        letter-spacing: -0.02em;
        font-variant-numeric: tabular-nums;
      }
      .track {
        grid-column: 1 / -1;
        height: 8px;
        border-radius: 4px;
        background: var(--_fill);
        overflow: clip;
      }
      .track div {
        width: var(--share);
        height: 100%;
        border-radius: 4px;
        background: var(--_accent);
      }
      .label {
        font-size: 13px;
        color: var(--_muted);
      }
      ul {
        display: grid;
        grid-template-columns: repeat(3, minmax(0, 1fr));
        gap: 16px 24px;
        margin: 20px 0 0;
        padding: 0;
        list-style: none;
      }
      .body {
        display: flex;
        flex-direction: column;
      }
      ul,
      .spark {
        flex: 1 1 32px;
      }
      li {
        display: flex;
        flex-direction: column;
        min-width: 0;
      }
      li .value {
        font-size: 20px;
        line-height: 28px;
      }
      @container (max-width: 420px) {
        ul {
          gap: 12px 14px;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.by = "user";
  }

  protected override asksBy(): readonly string[] {
    return ["by"];
  }

  override questions(_page: Page): Record<string, Question> {
    const question = { endpoint: "active", interval: "day", by: this.by };
    return { weekly: { ...question, rolling: 7 }, monthly: { ...question, rolling: 30 } };
  }

  protected override defaultHeading(): string {
    return this.format.text(this.by === "user" ? "active_users" : "active_sessions");
  }

  get #days(): readonly Day[] {
    const [weekly, monthly] = [this.answer<Answer>("weekly").points, this.answer<Answer>("monthly").points];
    const days = monthly.map((month, i) => ({
      start: month.bucket,
      partial: month.partial,
      daily: month.activeCount,
      weekly: weekly[i]?.rollingCount ?? 0,
      monthly: month.rollingCount,
      stickiness: month.stickiness,
    }));
    // Today is not over yet, but on a tenant's first day there is nothing else to show.
    const over = days.filter(({ partial }) => !partial);
    return over.some(({ monthly }) => monthly > 0) ? over : days;
  }

  protected override isEmpty(): boolean {
    return !this.#days.some(({ monthly }) => monthly > 0);
  }

  protected override content(): TemplateResult {
    const f = this.format;
    const days = this.#days;
    const last = days.at(-1) as Day;
    const stickiness = days.reduce((sum, day) => sum + day.stickiness, 0) / days.length;
    return html`<div class="meter">
        <span class="value" part="stickiness"><bdi>${f.percent(stickiness)}</bdi></span>
        <span class="label">${f.text("stickiness_hint")}</span>
        <div class="track" aria-hidden="true"><div class="fill" ${cssVar("--share", `${stickiness * 100}%`)}></div></div>
      </div>
      <ul part="figures">
        ${SPANS.map((span) => html`<li part="figure">
          <span class="label">${span === "daily" ? f.tick(new Date(last.start), "day") : f.text(span)}</span>
          <span class="value" title=${f.exact(last[span])}><bdi>${f.short(last[span])}</bdi></span>
          ${spark(days.map((day) => day[span]))}
        </li>`)}
      </ul>
      ${this.hiddenTable()}`;
  }

  protected override table(): Table {
    const f = this.format;
    return {
      head: [f.text("time"), ...SPANS.map((span) => f.text(span)), f.text("stickiness")],
      read: (key) => f.bucket(new Date(this.#days.find(({ start }) => start.startsWith(key))?.start ?? key), "day"),
      rows: this.#days.map((day) => [day.start.slice(0, 10), day.daily, day.weekly, day.monthly, day.stickiness]),
    };
  }
}
