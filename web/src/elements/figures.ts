/** `<nealytics-figures>`: the headline numbers of the range, each with its change and a small line. */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import type { Format } from "../text/format.ts";
import type { Key } from "../text/messages.ts";
import { Card } from "./base.ts";
import type { Table } from "./dom.ts";
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
  readonly previous?: Figures;
}
interface Point {
  readonly count?: number;
  readonly activeCount?: number;
}

type Name = keyof Figures & Key;
const NAMES: readonly Name[] = ["users", "sessions", "events", "eventsPerSession", "medianSessionDurationSeconds", "bounceShare"];
/** Of these less is better. */
const FALLING = new Set<Name>(["bounceShare"]);

export class NealyticsFigures extends Card {
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
      ul {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(150px, 42cqi), 1fr));
        margin: 0 -1px -1px 0;
        padding: 0;
        list-style: none;
      }
      li {
        padding: 16px 18px 14px;
        display: flex;
        flex-direction: column;
        gap: 2px;
        min-width: 0;
        border: 0 solid var(--_border);
        border-width: 0 1px 1px 0;
      }
      .label {
        font-size: 13px;
        color: var(--_muted);
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .value {
        font-size: 28px;
        line-height: 32px;
        font-weight: 600;
        letter-spacing: -0.02em;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      @container (max-width: 420px) {
        li {
          padding: 12px 14px;
        }
        .value {
          font-size: 22px;
          line-height: 28px;
        }
      }
      .change {
        font-size: 13px;
        min-height: 19px;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      .skeleton.tile {
        height: 24px;
        width: 60%;
        margin: 4px 0;
      }
    `,
  ];

  override questions(page: Page): Record<string, Question> {
    return {
      summary: summaryOf(page),
      events: { endpoint: "timeseries", interval: page.interval, fill: true },
      users: { endpoint: "active", interval: page.interval === "hour" ? "day" : page.interval, by: "user" },
      sessions: { endpoint: "active", interval: page.interval === "hour" ? "day" : page.interval, by: "session" },
    };
  }

  protected override defaultHeading(): string {
    return this.format.text("total");
  }

  protected override isEmpty(): boolean {
    return false; // zeros say it themselves
  }

  protected override skeleton(): TemplateResult {
    return html`<ul aria-hidden="true">
      ${NAMES.map((name) => html`<li><span class="label">${this.format.text(name)}</span><span class="skeleton tile"></span><span class="change"></span><svg class="spark"></svg></li>`)}
    </ul>`;
  }

  protected override content(): TemplateResult {
    const summary = this.answer<Summary>("summary");
    return html`<ul part="figures">
      ${NAMES.map((name) => this.#tile(name, summary[name], summary.previous?.[name]))}
    </ul>`;
  }

  protected override table(): Table {
    const f = this.format;
    const summary = this.answer<Summary>("summary");
    return {
      head: ["", f.text("value"), f.text("previous")],
      rows: NAMES.map((name) => [f.text(name), summary[name], summary.previous?.[name] ?? ""]),
    };
  }

  #tile(name: Name, value: number, before: number | undefined): TemplateResult {
    const f = this.format;
    const change = this.page.comparedRange ? f.change(value, before) : undefined;
    const good = change && change.sign !== 0 && change.sign > 0 !== FALLING.has(name);
    return html`<li part="figure">
      <span class="label">${f.text(name)}</span>
      <span class="value" title=${f.exact(value)}><bdi>${shown(f, name, value)}</bdi></span>
      <span class="change">${change ? changeOf(f, change, good ? "up" : "down") : nothing}</span>
      ${this.#spark(name)}
    </li>`;
  }

  #spark(name: Name): TemplateResult {
    const points = this.answers[name] as { points?: readonly Point[] } | undefined;
    const values = (points?.points ?? []).map((point) => point.count ?? point.activeCount ?? 0);
    return spark(values);
  }
}

/** The same of the dashboard and its figures, so that it is asked once. */
export function summaryOf(page: Page): Question {
  const before = page.comparedRange;
  return { endpoint: "summary", ...(before ? { compare: `${before.from}..${before.to}` } : {}) };
}

/** `▲ 12.4 %`, by colour and by sign, and in words for those who see neither. */
export function changeOf(f: Format, change: { text: string; sign: -1 | 0 | 1 }, tone: "up" | "down"): TemplateResult {
  if (change.sign === 0) return html`<span class="muted">${f.text("no_change")}</span>`;
  const [sign, words] = change.sign > 0 ? ["▲", "up"] as const : ["▼", "down"] as const;
  return html`<span class=${tone}><span aria-hidden="true">${sign} <bdi>${change.text}</bdi></span><span class="sr">${f.text(words, change.text)}</span></span>`;
}

function shown(f: Format, name: Name, value: number): string {
  if (name === "medianSessionDurationSeconds") return f.duration(value);
  if (name === "bounceShare") return f.percent(value);
  return f.short(value);
}
