/** `<nealytics-sessions>`: the latest visits, the longest or the busiest; a click shows one from its first event on. */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { type Answers, Card } from "./base.ts";
import type { Table } from "./dom.ts";
import { ofTenant } from "./events.ts";

const EVENTS_MAX = 100;

interface Session {
  readonly sessionId: string;
  readonly tenantId?: string;
  readonly firstSeen: string;
  readonly durationSeconds: number;
  readonly eventCount: number;
}
interface Event {
  readonly eventId: string;
  readonly eventType: string;
  readonly itemId?: string;
  readonly timestamp: string;
}

export class NealyticsSessions extends Card {
  static override properties = { order: {}, limit: { type: Number }, opened: { state: true } };
  declare order: string;
  declare limit: number;
  declare protected opened: Session | undefined;
  #asked: Session | undefined;
  #answered: Session | undefined; // whose events the answer has

  static override styles = [
    ...Card.styles,
    css`
      .block {
        height: 330px;
      }
      ol {
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .rows > li + li {
        background: linear-gradient(var(--_border) 0 0) top / calc(100% - 12px) 1px no-repeat;
      }
      .head,
      .row {
        display: grid;
        grid-template-columns: minmax(0, 1fr) 88px 80px;
        gap: 4px 12px;
        width: 100%;
        align-items: center;
        padding: 0 6px;
        text-align: start;
      }
      .head {
        padding-block-end: 6px;
        font-size: 13px;
      }
      .row {
        min-height: 40px;
        border: 0;
        background: none;
        cursor: pointer;
        font-variant-numeric: tabular-nums;
      }
      .head :not(:first-child),
      .row :not(:first-child) {
        text-align: end;
        overflow: hidden;
        text-overflow: ellipsis;
      }
      .row:hover {
        background: var(--_fill);
      }
      .head,
      .rows {
        width: calc(100% + 12px);
        margin-inline: -6px;
      }
      .events {
        padding: 2px 6px 12px 20px;
        font-size: 13px;
      }
      .events li {
        position: relative;
        display: flex;
        gap: 12px;
        justify-content: space-between;
        padding: 3px 0 3px 16px;
        border-inline-start: 2px solid var(--_border);
      }
      .events li::before {
        content: "";
        position: absolute;
        inset-inline-start: -5px;
        inset-block-start: 10px;
        width: 8px;
        height: 8px;
        border-radius: 50%;
        background: var(--_accent);
      }
      .what {
        min-width: 0;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .event .what {
        display: flex;
        gap: 6px;
      }
      .event .muted {
        flex-shrink: 4;
      }
      @container (max-width: 340px) {
        .head {
          display: none;
        }
        .row {
          grid-template-columns: minmax(0, 1fr) auto;
          padding-block: 6px;
        }
        .row .what {
          grid-column: 1 / -1;
        }
        .row :not(.what) {
          color: var(--_muted);
          font-size: 13px;
        }
        .row > :nth-child(2) {
          text-align: start;
        }
        .row .sr {
          all: unset;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.order = "-start";
    this.limit = 8;
  }

  protected override asksBy(): readonly string[] {
    return ["order", "limit"];
  }

  override willUpdate(changed: Map<string, unknown>): void {
    super.willUpdate(changed);
    if (changed.has("opened") && this.opened && this.hasUpdated) this.page.askAgain(this);
  }

  override questions(page: Page): Record<string, Question> {
    const questions: Record<string, Question> = { sessions: { endpoint: "sessions", order: this.order, limit: this.limit } };
    this.#asked = this.opened;
    if (this.opened) {
      const { sessionId, tenantId } = this.opened;
      questions["events"] = { endpoint: "timeline", sessionId, filter: ofTenant(page.filters, tenantId), limit: EVENTS_MAX };
    }
    return questions;
  }

  override receive(answers: Answers): void {
    this.#answered = this.#asked;
    super.receive(answers);
  }

  protected override defaultHeading(): string {
    return this.format.text("sessions");
  }

  get #sessions(): readonly Session[] {
    return this.answer<{ sessions: Session[] }>("sessions").sessions;
  }

  protected override isEmpty(): boolean {
    return this.#sessions.length === 0;
  }

  protected override content(): TemplateResult {
    const f = this.format;
    return html`<div class="head muted" aria-hidden="true"><span>${f.text("time")}</span><span>${f.text("duration")}</span><span>${f.text("events")}</span></div>
    <ol class="rows" part="list">
      ${this.#sessions.map((session) => {
        const open = this.opened?.sessionId === session.sessionId && this.opened.tenantId === session.tenantId;
        return html`<li>
          <button class="row" aria-expanded=${open} @click=${() => (this.opened = open ? undefined : session)}>
            <span class="what">${f.bucket(new Date(session.firstSeen), "hour")}</span>
            <span><span class="sr">${f.text("duration")}</span> ${f.duration(session.durationSeconds)}</span>
            <span><span class="sr">${f.text("events")}</span> ${f.exact(session.eventCount)}</span>
          </button>
          ${open ? this.#events(session) : nothing}
        </li>`;
      })}
    </ol>`;
  }

  #events({ eventCount }: Session): TemplateResult {
    const f = this.format;
    const found = (this.answers["events"] as unknown as { events?: Event[] } | undefined)?.events;
    if (!found || this.#answered !== this.opened) return html`<div class="events muted">${f.text("loading")} …</div>`;
    return html`<ol class="events">
      ${found.length === EVENTS_MAX && eventCount > EVENTS_MAX
        ? html`<li class="muted">${f.text("older")}: ${f.exact(eventCount - EVENTS_MAX)}</li>`
        : nothing}
      ${[...found].reverse().map((event) => html`<li class="event">
        <span class="what"><bdi class="clipped">${event.eventType}</bdi>${event.itemId ? html`<bdi class="clipped muted">${event.itemId}</bdi>` : nothing}</span>
        <span class="muted number">${f.clock(new Date(event.timestamp))}</span>
      </li>`)}
    </ol>`;
  }

  protected override table(): Table {
    const f = this.format;
    return {
      head: [f.text("sessions"), f.text("time"), `${f.text("duration")} (s)`, f.text("events")],
      rows: this.#sessions.map((one) => [one.sessionId, one.firstSeen, one.durationSeconds, one.eventCount]),
    };
  }
}
