/**
 * `<nealytics-timeline>`: single events, newest first, page by page; a click opens one, and leads to all events of
 * its session or its user.
 *
 * `session` and `user` show those of one, with `tenant` the one of that tenant: with a token of the whole project, two
 * tenants may have the same id. A page is known by its cursor, so going back is instant and new events do
 * not move what is being read.
 */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { plus } from "../data/range.ts";
import { Card } from "./base.ts";
import { icon, type Table } from "./dom.ts";
import { type Event, eventCells, eventStyles, metadataOf, ofTenant } from "./events.ts";

interface Answer {
  readonly events: readonly Event[];
  readonly nextCursor?: string;
}

export class NealyticsTimeline extends Card {
  static override properties = {
    session: {},
    user: {},
    tenant: {},
    limit: { type: Number },
    cursors: { state: true },
    opened: { state: true },
  };
  declare session: string | undefined;
  declare user: string | undefined;
  declare tenant: string | undefined;
  declare limit: number;
  /** Of the pages up to the one that is shown; the first has none. */
  declare protected cursors: readonly string[];
  declare protected opened: string | undefined;
  #asked = "";

  static override styles = [
    ...Card.styles,
    eventStyles,
    css`
      .block {
        height: 420px;
      }
      ol {
        margin: 0 -8px;
        padding: 0;
        list-style: none;
      }
      h4 {
        margin: 0;
        padding: 14px 8px 4px;
        font-size: 12px;
        font-weight: 500;
        color: var(--_muted);
      }
      li:first-child h4 {
        padding-top: 0;
      }
      .event {
        cursor: pointer;
      }
      .event:hover,
      .event[aria-expanded="true"] {
        background: var(--_fill);
      }
      .more {
        padding: 8px 8px 14px;
        font-size: 13px;
      }
      dl {
        display: grid;
        grid-template-columns: fit-content(40%) minmax(0, 1fr);
        gap: 4px 16px;
        margin: 0 0 10px;
      }
      dt {
        color: var(--_muted);
        overflow-wrap: anywhere;
      }
      dd {
        margin: 0;
        overflow-wrap: anywhere;
      }
      .links,
      footer {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
      }
      .links .button,
      footer .button {
        min-height: 30px;
      }
      footer {
        justify-content: space-between;
        margin-block-start: 12px;
      }
      .only {
        display: inline-flex;
        align-items: center;
        gap: 2px;
        max-width: 60%;
        margin-inline-start: auto;
        padding-inline-start: 10px;
        border-radius: var(--_inner);
        background: color-mix(in oklab, var(--_accent) 12%, transparent);
      }
      .only span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
    `,
  ];

  constructor() {
    super();
    this.limit = 12;
    this.cursors = [];
  }

  protected override asksBy(): readonly string[] {
    return ["session", "user", "tenant", "limit", "cursors"];
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (this.hasUpdated && (changed.has("session") || changed.has("user") || changed.has("tenant"))) {
      this.cursors = [];
      this.opened = undefined;
      this.page.askAgain(this); // also where there was none before
    }
    super.willUpdate(changed);
  }

  override questions(page: Page): Record<string, Question> {
    const { from, to } = page.range;
    const { session, user, limit } = this;
    const filter = ofTenant(page.filters, this.tenant);
    // One session or user is shown from its first event on, whatever the range.
    const of = session
      ? { sessionId: session }
      : user
        ? { userId: user }
        : { after: `${plus(from, -1)}T23:59:59.999`, before: plus(to, 1) };
    const question = { endpoint: "timeline", limit, filter, ...of };
    // The cursor of other events leads nowhere.
    const asked = JSON.stringify([question, page.tz]);
    if (asked !== this.#asked) this.cursors = [];
    this.#asked = asked;
    const cursor = this.cursors.at(-1);
    return { timeline: cursor ? { ...question, cursor } : question };
  }

  protected override defaultHeading(): string {
    return this.format.text("timeline");
  }

  get #answer(): Answer {
    return this.answer<Answer>("timeline");
  }

  protected override isEmpty(): boolean {
    return this.#answer.events.length === 0 && this.cursors.length === 0 && !this.session && !this.user;
  }

  protected override actions(): unknown {
    const f = this.format;
    const [kind, id] = this.session ? ["session", this.session] as const : ["user", this.user] as const;
    if (!id) return nothing;
    return html`<span class="only"><span>${f.text(kind)} <bdi>${id}</bdi></span>
      <button class="button icon quiet" aria-label=${f.text("all_events")} @click=${() => this.#show({})}>${icon("close")}</button>
    </span>`;
  }

  protected override content(): TemplateResult {
    const f = this.format;
    const { events, nextCursor } = this.#answer;
    let day = "";
    return html`<ol part="list">
        ${events.map((event) => {
          const before = day;
          day = f.bucket(new Date(event.timestamp), "day");
          return html`<li>
            ${day === before ? nothing : html`<h4>${day}</h4>`}
            <button class="event" part="row" aria-expanded=${event.eventId === this.opened ? "true" : "false"}
              @click=${() => (this.opened = event.eventId === this.opened ? undefined : event.eventId)}>${eventCells(f, event)}</button>
            ${event.eventId === this.opened ? this.#details(event) : nothing}
          </li>`;
        })}
      </ol>
      ${nextCursor || this.cursors.length > 0
        ? html`<footer part="pages">
            <button class="button" ?disabled=${this.cursors.length === 0} @click=${() => this.#turn(this.cursors.slice(0, -1))}>${f.text("newer")}</button>
            <button class="button" ?disabled=${!nextCursor} @click=${() => nextCursor && this.#turn([...this.cursors, nextCursor])}>${f.text("older")}</button>
          </footer>`
        : nothing}`;
  }

  #turn(cursors: readonly string[]): void {
    this.opened = undefined;
    this.cursors = cursors;
  }

  #details(event: Event): TemplateResult {
    const f = this.format;
    const { sessionId, userId, tenantId } = event;
    return html`<div class="more">
      <dl>
        ${userId ? html`<dt>${f.text("user")}</dt><dd><bdi>${userId}</bdi></dd>` : nothing}
        ${metadataOf(event).map(([name, value]) => html`<dt><bdi>${name}</bdi></dt><dd><bdi>${value}</bdi></dd>`)}
      </dl>
      <div class="links">
        ${sessionId && !this.session ? html`<button class="button" @click=${() => this.#show({ session: sessionId, tenant: tenantId })}>${f.text("whole_session")}</button>` : nothing}
        ${userId && userId !== this.user ? html`<button class="button" @click=${() => this.#show({ user: userId, tenant: tenantId })}>${f.text("all_of_user")}</button>` : nothing}
      </div>
    </div>`;
  }

  #show({ session, user, tenant }: { session?: string; user?: string; tenant?: string | undefined }): void {
    this.session = session;
    this.user = user;
    this.tenant = tenant;
    // What had the focus is gone.
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(".only button, .event")?.focus());
  }

  protected override table(): Table {
    const f = this.format;
    return {
      head: [f.text("time"), f.text("event_type"), f.text("item_id"), f.text("user"), f.text("session"), "metadata"],
      rows: this.#answer.events.map((event) => [
        event.timestamp, event.eventType, event.itemId ?? "", event.userId ?? "", event.sessionId ?? "", event.metadataJson ?? "",
      ]),
    };
  }
}
