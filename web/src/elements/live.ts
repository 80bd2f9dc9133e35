/**
 * `<nealytics-live>`: what happens now, newest first, at most 50 events.
 *
 * It stands still while the pointer or the focus is on it and after its button was pressed; what comes meanwhile is
 * shown afterwards. In a tab that nobody sees it holds no connection; when it is seen again it asks for the latest.
 */

import { css, html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";

import type { QueryError, Question } from "../data/client.ts";
import { LiveStream, type LiveState } from "../data/live.ts";
import type { Page } from "../data/page.ts";
import { type Answers, Card } from "./base.ts";
import { icon, type Table } from "./dom.ts";
import { type Event, eventCells, eventStyles } from "./events.ts";
import { reasonOf } from "./reason.ts";

const EVENTS_MAX = 50;

export class NealyticsLive extends Card {
  static override properties = { held: { state: true }, hovered: { state: true }, connection: { state: true } };
  /** By the button. */
  declare protected held: boolean;
  declare protected hovered: boolean;
  declare protected connection: LiveState;
  #events: readonly Event[] = [];
  #behind: readonly Event[] = []; // came while it stood still
  #filters: string | undefined;
  #stream: LiveStream | undefined;
  #failure: QueryError | undefined;

  static override styles = [
    ...Card.styles,
    eventStyles,
    css`
      .body,
      .block {
        height: 330px;
        flex: none;
      }
      .state {
        display: inline-flex;
        align-items: center;
        gap: 7px;
        margin-inline-start: auto;
        color: var(--_muted);
        font-size: 13px;
        white-space: nowrap;
      }
      .dot {
        width: 8px;
        height: 8px;
        border-radius: 50%;
        background: var(--_muted);
      }
      .dot[data-state="connected"] {
        background: var(--_positive);
        animation: pulse 2s ease-out infinite;
      }
      .dot[data-state="reconnecting"] {
        background: light-dark(#b26a00, #f0b45e);
      }
      .dot[data-state="failed"] {
        background: var(--_negative);
      }
      ol {
        height: 100%;
        margin: 0;
        padding: 0;
        list-style: none;
        overflow-y: auto;
        overscroll-behavior: contain;
        scrollbar-width: thin;
      }
      li {
        animation: arrive 0.5s ease-out;
      }
      li + li {
        border-block-start: 1px solid var(--_border);
      }
      .event {
        min-height: 37px;
        padding: 0;
      }
      .behind {
        position: absolute;
        inset-block-start: 4px;
        inset-inline: 0;
        width: fit-content;
        margin: auto;
        padding: 2px 12px;
        border: 1px solid var(--_border);
        border-radius: 99px;
        background: var(--_sheet);
        color: var(--_accent);
        font-size: 13px;
        pointer-events: none;
      }
      @keyframes arrive {
        from {
          opacity: 0;
          background: color-mix(in oklab, var(--_accent) 18%, transparent);
        }
      }
      @keyframes pulse {
        from {
          box-shadow: 0 0 0 0 color-mix(in oklab, var(--_positive) 50%, transparent);
        }
        60%,
        to {
          box-shadow: 0 0 0 7px transparent;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.held = false;
    this.hovered = false;
    this.connection = "connecting";
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("visibilitychange", this.#seen);
    for (const event of ["nealytics-filter-change", "renewed"]) this.pageAsked?.addEventListener(event, this.#seen);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener("visibilitychange", this.#seen);
    for (const event of ["nealytics-filter-change", "renewed"]) this.pageAsked?.removeEventListener(event, this.#seen);
    this.#stop();
    this.#filters = undefined;
    this.#events = this.#behind = [];
    this.state = "loading";
  }

  #stop(): void {
    this.#stream?.stop();
    this.#stream = undefined;
  }

  /** What there is already: at once, and again when the stream has begun, for what came in between. */
  override questions(page: Page): Record<string, Question> {
    const filters = JSON.stringify(page.filters);
    const known = this.#filters === filters;
    this.#filters = filters;
    // With an end that is another each time, so that no kept answer is taken for it.
    const before = new Date(Date.now() + 86_400_000).toISOString();
    return known && !this.problem ? {} : { recent: { endpoint: "timeline", limit: EVENTS_MAX, before } };
  }

  override waiting(): void {
    if (this.#events.length === 0) super.waiting(); // what is there stays right
  }

  override receive(answers: Answers): void {
    const recent = answers["recent"] as { events?: Event[] } | undefined;
    if (!recent && this.state !== "loading") {
      this.state = "ready";
      if (this.connection === "failed") this.#seen(); // perhaps there is a token again
      return;
    }
    super.receive(answers);
    if (!recent?.events) return;
    // The stream may have brought some of them already.
    for (const one of recent.events) this.#add(one);
    if (!this.#stream) this.#seen();
  }

  readonly #seen = (event?: globalThis.Event): void => {
    if (event?.type === "renewed") this.#filters = undefined; // so that what there is is asked for again
    if (event && event.type !== "visibilitychange") {
      this.#events = this.#behind = [];
      this.#stop(); // a stream of other events has another place to go on from
      return;
    }
    // Not to go on from there: the list shows the latest, however many were missed.
    if (document.hidden) {
      this.#stop();
      return;
    }
    if (this.state === "loading" || this.problem) return;
    const stream = (this.#stream ??= new LiveStream(
      this.page.client,
      (data) => this.#add(JSON.parse(data) as Event),
      (state, error) => {
        this.connection = state;
        this.#failure = error;
        if (state === "connected" && !stream.resumed) {
          this.#filters = undefined;
          this.page.askAgain(this);
        }
        if (state === "failed") console.warn(`nealytics: <${this.localName}>: ${error?.code}: ${error?.message}`);
      },
    ));
    stream.start(this.page.filters);
  };

  get #still(): boolean {
    return this.held || this.hovered;
  }

  #add(event: Event): void {
    if (this.#events.some(({ eventId }) => eventId === event.eventId)) return;
    if (this.#still && this.#events.length > 0) this.#behind = newest([event, ...this.#behind]);
    else this.#events = newest([event, ...this.#events]);
    this.requestUpdate();
  }

  override willUpdate(changed: Map<string, unknown>): void {
    super.willUpdate(changed);
    if (this.#still || this.#behind.length === 0) return;
    this.#events = newest([...this.#behind, ...this.#events]);
    this.#behind = [];
  }

  protected override defaultHeading(): string {
    return this.format.text("live");
  }

  protected override isEmpty(): boolean {
    return false;
  }

  protected override actions(): unknown {
    const f = this.format;
    if (this.state === "loading" || this.problem) return nothing;
    const state = this.connection === "failed" ? "failed" : this.#still ? "paused" : this.connection;
    return html`<span class="state"><span class="dot fill" part="dot" data-state=${state}></span><span role="status">${f.text(`live_${state}`)}</span></span>
      <button class="button icon quiet" aria-pressed=${this.held ? "true" : "false"} aria-label=${f.text("pause")}
        @click=${() => (this.held = !this.held)}>${icon(this.held ? "play" : "pause")}</button>`;
  }

  protected override content(): TemplateResult {
    const f = this.format;
    if (this.#events.length === 0) {
      const failed = this.connection === "failed" && this.#failure;
      const [title, hint] = failed ? reasonOf(failed, f) : [f.text("live_empty"), f.text("live_hint")];
      return html`<div class="note" part="empty"><p>${title}</p><p class="muted">${hint}</p></div>`;
    }
    // The list scrolls, so it can be reached by keyboard.
    return html`<ol part="list" tabindex="0" aria-label=${this.heading ?? this.defaultHeading()}
        @pointerenter=${this.#enter} @pointerleave=${this.#leave} @focus=${this.#enter} @blur=${this.#leave}>
        ${repeat(this.#events, ({ eventId }) => eventId, (event) => html`<li><div class="event" part="row">${eventCells(f, event, f.latest(new Date(event.timestamp)))}</div></li>`)}
      </ol>
      ${this.#behind.length ? html`<div class="behind">${f.text("live_behind", f.exact(this.#behind.length) + (this.#behind.length < EVENTS_MAX ? "" : "+"))}</div>` : nothing}`;
  }

  readonly #enter = (): void => {
    this.hovered = true;
  };

  readonly #leave = (): void => {
    this.hovered = false;
  };

  protected override table(): Table {
    const f = this.format;
    return {
      head: [f.text("time"), f.text("event_type"), f.text("item_id"), f.text("user")],
      rows: this.#events.map(({ timestamp, eventType, itemId, userId }) => [timestamp, eventType, itemId ?? "", userId ?? ""]),
    };
  }
}

/** Each once, the newest first, not more than fit. */
function newest(events: readonly Event[]): readonly Event[] {
  const found = new Map(events.map((event) => [event.eventId, event]));
  return [...found.values()].sort((a, b) => Date.parse(b.timestamp) - Date.parse(a.timestamp)).slice(0, EVENTS_MAX);
}
