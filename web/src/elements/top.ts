/**
 * `<nealytics-top>`: the most frequent values of a dimension, each with a bar; several dimensions are tabs.
 *
 * `dimension` is a list such as `event_type, item_id, meta:plan`. Clicking a row adds it as a filter to the page.
 */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { type Key, ENGLISH } from "../text/messages.ts";
import { Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";
import { ofTenant } from "./events.ts";
import { bars } from "./styles.ts";

export interface Item {
  readonly key: string;
  readonly tenantId?: string; // of a session or user, if the token opens the whole project
  readonly count: number;
  readonly share: number;
  readonly users?: number;
}

export class NealyticsTop extends Card {
  static override properties = { dimension: {}, limit: { type: Number }, chosen: { state: true } };
  declare dimension: string;
  declare limit: number;
  declare protected chosen: string | undefined;

  static override styles = [
    ...Card.styles,
    bars,
    css`
      .block {
        height: 264px;
      }
      :host([data-tabs]) h3 {
        position: absolute;
        clip-path: inset(50%);
      }
      [role="tablist"] {
        display: flex;
        flex: 1;
        gap: 2px;
        margin-inline-start: -8px;
        min-width: 0;
        overflow-x: auto;
        scrollbar-width: none;
      }
      [role="tab"] {
        padding: 4px 8px;
        border: 0;
        border-radius: 8px;
        background: none;
        color: var(--_muted);
        cursor: pointer;
        white-space: nowrap;
        font-weight: 500;
      }
      [role="tab"][aria-selected="true"] {
        color: var(--_text);
        font-weight: 600;
      }
    `,
  ];

  constructor() {
    super();
    this.dimension = "event_type";
    this.limit = 8;
  }

  protected override asksBy(): readonly string[] {
    return ["dimension", "limit"];
  }

  /** Whether another tab is another question. */
  protected get asksByChoice(): boolean {
    return true;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    super.willUpdate(changed);
    if (changed.has("chosen") && this.hasUpdated && this.asksByChoice) this.page.askAgain(this);
  }

  protected get dimensions(): readonly string[] {
    return this.dimension.split(",").map((name) => name.trim()).filter(Boolean);
  }

  protected get shown(): string {
    return this.chosen && this.dimensions.includes(this.chosen) ? this.chosen : (this.dimensions[0] ?? "");
  }

  override questions(_page: Page): Record<string, Question> {
    return { top: { endpoint: "top", dimension: this.shown, limit: this.limit } };
  }

  protected override defaultHeading(): string {
    return this.label(this.shown);
  }

  protected label(dimension: string): string {
    return dimension in ENGLISH ? this.format.text(dimension as Key) : dimension.replace(/^meta:/, "").replaceAll("\\", "");
  }

  protected override isEmpty(): boolean {
    return this.items.length === 0;
  }

  protected get items(): readonly Item[] {
    return this.answer<{ items: Item[] }>("top").items;
  }

  protected override actions(): unknown {
    const dimensions = this.dimensions;
    if (dimensions.length < 2) return nothing;
    return html`<div role="tablist" aria-label=${this.heading ?? this.defaultHeading()} @keydown=${this.#arrows}>
      ${dimensions.map((name) => html`<button role="tab" aria-selected=${name === this.shown} tabindex=${name === this.shown ? 0 : -1}
        @click=${() => (this.chosen = name)}>${this.label(name)}</button>`)}
    </div>`;
  }

  override render(): TemplateResult {
    this.toggleAttribute("data-tabs", this.dimensions.length > 1 && !this.heading);
    return super.render();
  }

  readonly #arrows = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const dimensions = this.dimensions;
    const next = (dimensions.indexOf(this.shown) + step + dimensions.length) % dimensions.length;
    this.chosen = dimensions[next];
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>('[role="tab"][aria-selected="true"]')?.focus());
  };

  protected override content(): TemplateResult {
    const f = this.format;
    const { items } = this;
    const most = Math.max(...items.map((item) => item.count), 1);
    return html`<ol class="bars" part="list">
      ${items.map((item) => html`<li><button class="row" part="row" ${cssVar("--share", `${(item.count / most) * 100}%`)}
          title="${f.text("filter")}: ${item.key}" @click=${() => this.#select(item)}>
          <span class="key"><bdi>${item.key}</bdi></span>
          <span class="count"><span class="share">${f.percent(item.share)}</span><span title=${f.exact(item.count)}>${f.short(item.count)}</span></span>
        </button></li>`)}
    </ol>`;
  }

  protected override table(): Table {
    const f = this.format;
    const { items } = this;
    return {
      head: [this.label(this.shown), f.text("events"), f.text("share"), f.text("users")],
      rows: items.map((item) => [item.key, item.count, item.share, item.users ?? ""]),
    };
  }

  #select(item: Item): void {
    const filter = `${this.shown}:eq:${item.key}`;
    const event = new CustomEvent("nealytics-select", { detail: { filter, ...item }, bubbles: true, composed: true, cancelable: true });
    if (this.dispatchEvent(event)) this.page.addFilter(...ofTenant([filter], item.tenantId));
  }
}
