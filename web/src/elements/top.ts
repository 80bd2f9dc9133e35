/**
 * `<nealytics-top>`: the most frequent values of a dimension, each with a bar; several dimensions are tabs.
 *
 * With `measure`, one of the API such as `sum(meta:amount)`, rows have its value, in its `currency`, and are ordered by it.
 *
 * `dimension` is a list such as `event_type, item_id, meta:plan`. Clicking a row adds it as a filter to the page. What
 * is not listed is counted as "other" in the last row. A long list scrolls and can be searched; the node searches, so
 * that all values are found and not only those listed.
 */

import { css, html, nothing, type PropertyDeclarations, type PropertyValues, type TemplateResult } from "lit";

import type { Question } from "../data/client.ts";
import { isAdditive, type Page, unitOf } from "../data/page.ts";
import type { Format } from "../text/format.ts";
import { type Key, ENGLISH } from "../text/messages.ts";
import { type Answers, Card } from "./base.ts";
import { cssVar, type Table } from "./dom.ts";
import { ofTenant } from "./events.ts";
import { bars } from "./styles.ts";

export interface Item {
  readonly key: string;
  readonly other?: boolean; // of all values that are not listed; it has no key
  readonly value: number | null;
  readonly tenantId?: string; // of a session or user, if the token opens the whole project
  readonly count: number;
  readonly share: number;
  readonly users?: number;
}

/** A list of more rows scrolls, and can be searched. */
const ROWS_MAX = 20;
const EXPANDED = 100;

export class NealyticsTop extends Card {
  static override properties: PropertyDeclarations = {
    dimension: {},
    limit: { type: Number },
    measure: {},
    currency: {},
    chosen: { state: true },
    expanded: { state: true },
    search: { state: true },
  };
  declare dimension: string;
  declare limit: number;
  declare measure: string | undefined;
  declare currency: string | undefined;
  declare protected chosen: string | undefined;
  declare protected expanded: boolean;
  declare protected search: string;
  #asked = "";
  /** The dimension of the answer, while one of another is on its way. */
  protected answered = "";

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
      /* Beside a heading of the page, tabs stand at the other end: next to it, one of them reads as a part of it. */
      :host(:not([data-tabs])) [role="tablist"] {
        flex: 0 1 auto;
        margin-inline-start: auto;
      }
      [role="tab"] {
        padding: 4px 8px;
        border: 0;
        border-radius: var(--_inner);
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
      @media print {
        [role="tab"][aria-selected="false"] {
          display: none;
        }
        .bars.long {
          max-height: none;
        }
      }
      /* Beside a taller card the rows take its height. */
      .body > .bars:only-child:has(> li:nth-child(6)) {
        height: 100%;
      }
      .bars > li {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
      }
      .long {
        max-height: 352px;
        margin: 0 -6px;
        padding: 0 6px;
        overflow-y: auto;
        overscroll-behavior: contain;
        scrollbar-width: thin;
      }
      .search {
        display: block;
        width: 100%;
        margin-block-end: 8px;
      }
      .none {
        margin: 0;
        padding: 6px 10px;
      }
      .toggle {
        margin: 6px 0 -6px -2px;
        font-size: 13px;
      }
    `,
  ];

  constructor() {
    super();
    this.dimension = "event_type";
    this.limit = 8;
    this.expanded = false;
    this.search = "";
  }

  protected override asksBy(): readonly string[] {
    return ["dimension", "limit", "measure", "expanded", "search"];
  }

  protected get rows(): number {
    return this.expanded ? Math.max(EXPANDED, this.limit) : this.limit;
  }

  /** Whether another tab is another question. */
  protected get asksByChoice(): boolean {
    return true;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("chosen")) this.search = "";
    super.willUpdate(changed);
    if (changed.has("chosen") && this.hasUpdated && this.asksByChoice) this.page.askAgain(this);
  }

  protected get dimensions(): readonly string[] {
    return this.dimension.split(",").map((name) => name.trim()).filter(Boolean);
  }

  protected get shown(): string {
    return this.chosen && this.dimensions.includes(this.chosen) ? this.chosen : (this.dimensions[0] ?? "");
  }

  /** The dimension of the rows. */
  protected get listed(): string {
    return this.answered;
  }

  override receive(answers: Answers): void {
    this.answered = this.#asked;
    super.receive(answers);
  }

  override questions(page: Page): Record<string, Question> {
    this.#asked = this.shown;
    return { top: searched(page, this.question(page), this.shown, this.search) };
  }

  protected question(_page: Page): Question {
    return { endpoint: "top", dimension: this.shown, limit: this.rows, ...(this.measure ? { measure: [this.measure], other: !this.search } : {}) };
  }

  protected override defaultHeading(): string {
    return this.shown ? this.label(this.shown) : this.format.text("properties");
  }

  protected label(dimension: string): string {
    return nameOf(this.format, dimension);
  }

  protected override isEmpty(): boolean {
    return this.items.length === 0 && !this.search;
  }

  /** How many events have a value that is not listed. */
  protected get other(): number {
    const [first] = this.items;
    return first?.share ? Math.round(first.count / first.share) - sumOf(this.items) : 0;
  }

  protected get items(): readonly Item[] {
    return this.answer<{ items: Item[] }>("top").items.filter((item) => !item.other);
  }

  /** What the values that are not listed are together, with a measure: it does not always follow from those listed. */
  get #others(): Item | undefined {
    return this.measure ? this.answer<{ items: Item[] }>("top").items.find((item) => item.other) : undefined;
  }

  protected override actions(): unknown {
    const dimensions = this.dimensions;
    if (dimensions.length < 2) return nothing;
    return html`<div role="tablist" class="fades" @scroll=${this.fade} aria-label=${this.heading ?? this.defaultHeading()} @keydown=${this.#arrows}>
      ${dimensions.map((name) => html`<button role="tab" aria-selected=${name === this.shown} tabindex=${name === this.shown ? 0 : -1}
        @click=${() => (this.chosen = name)}>${this.label(name)}</button>`)}
    </div>`;
  }

  override updated(changed: PropertyValues): void {
    super.updated(changed);
    if (changed.has("chosen")) this.renderRoot.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  override render(): TemplateResult {
    this.toggleAttribute("data-tabs", this.dimensions.length > 1 && !this.heading);
    return super.render();
  }

  readonly #arrows = (event: KeyboardEvent): void => {
    const arrows = ["ArrowLeft", "ArrowRight"];
    if (!arrows.includes(event.key)) return;
    const forward = arrows[getComputedStyle(this).direction === "rtl" ? 0 : 1];
    const step = event.key === forward ? 1 : -1;
    const dimensions = this.dimensions;
    const next = (dimensions.indexOf(this.shown) + step + dimensions.length) % dimensions.length;
    this.chosen = dimensions[next];
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>('[role="tab"][aria-selected="true"]')?.focus());
  };

  protected override content(): TemplateResult {
    const f = this.format;
    const { items, expanded, search } = this;
    const long = this.rows > ROWS_MAX && (items.length > ROWS_MAX || search !== "");
    return html`${long
        ? html`<input class="field search" type="search" aria-label="${f.text("search")}: ${this.label(this.shown)}" placeholder=${f.text("search")}
            .value=${search} @input=${this.#search}>`
        : nothing}
      ${this.list(long)}
      ${items.length === 0 ? html`<p class="none muted" role="status">${f.text("no_match")}</p>` : nothing}
      ${expanded || (this.hasMore && this.limit < EXPANDED)
        ? html`<button class="button quiet toggle" aria-expanded=${expanded ? "true" : "false"} @click=${this.#toggle}>${f.text(expanded ? "show_less" : "show_more")}</button>`
        : nothing}`;
  }

  protected get hasMore(): boolean {
    return this.measure ? this.answer<{ nextCursor?: string }>("top").nextCursor !== undefined : this.other > 0;
  }

  protected list(long: boolean): TemplateResult {
    const f = this.format;
    const { items, other } = this;
    const others = this.measure ? this.#others : other > 0 ? { value: other, share: undefined } : undefined;
    const units = this.measure ? f.as(unitOf(this.measure, this.currency)) : f;
    const shares = !this.measure || isAdditive(this.measure);
    const most = Math.max(...items.map((item) => item.value ?? 0), this.measure ? 0 : 1) || 1;
    const valued = (value: number | null): TemplateResult =>
      html`<span title=${value === null ? nothing : units.exact(value)}>${value === null ? "–" : units.short(value, most)}</span>`;
    return html`<ol class="bars ${long ? "long" : ""}" part="list">
      ${items.map((item) => html`<li><button class="row" part="row" ${cssVar("--share", Math.max(0, (item.value ?? 0) / most))}
          title="${f.text("filter")}: ${item.key}" @click=${() => this.select(item)}>
          <span class="key"><bdi class="clipped">${item.key}</bdi></span>
          <span class="count">${shares ? html`<span class="share">${f.percent(item.share)}</span>` : nothing}${valued(item.value)}</span>
        </button></li>`)}
      ${others && !this.search
        ? html`<li><div class="row rest muted"><span class="key">${f.text("other")}</span><span class="count">${
            shares && others.share !== undefined ? html`<span class="share">${f.percent(others.share)}</span>` : nothing}${valued(others.value)}</span></div></li>`
        : nothing}
    </ol>`;
  }

  readonly #toggle = (): void => {
    this.expanded = !this.expanded;
    this.search = "";
  };

  readonly #search = debounced((text) => (this.search = text));

  protected override table(): Table {
    const f = this.format;
    const { items, measure } = this;
    const ofMeasure = measure && isAdditive(measure);
    const others = this.#others;
    const row = (name: string, item: Item) => [name, ...(measure ? [item.value ?? ""] : []), item.count, item.share, item.users ?? ""];
    const share = measure ? `${f.text("share")}: ${ofMeasure ? measure : f.text("events")}` : f.text("share");
    return {
      head: [this.label(this.listed), ...(measure ? [measure] : []), f.text("events"), share, f.text("users")],
      rows: [
        ...items.map((item) => row(item.key, item)),
        ...(others && !this.search ? [row(f.text("other"), others)] : []),
        ...(!measure && this.other > 0 && !this.search ? [[f.text("other"), this.other, "", ""]] : []),
      ],
    };
  }

  protected select(item: Item): void {
    const filter = `${this.listed}:eq:${item.key}`;
    const event = new CustomEvent("nealytics-select", { detail: { filter, ...item }, bubbles: true, composed: true, cancelable: true });
    if (this.dispatchEvent(event)) this.page.addFilter(...ofTenant([filter], item.tenantId));
  }
}

/** A dimension as people read it. */
export function nameOf(f: Format, dimension: string): string {
  return Object.hasOwn(ENGLISH, dimension) ? f.text(dimension as Key) : capitalized(dimension.replace(/^meta:/, "").replaceAll("\\", ""));
}

/** `signup_source` as a heading. */
function capitalized(key: string): string {
  return key.replaceAll("_", " ").replace(/^\p{Ll}/u, (first) => first.toUpperCase());
}

export function sumOf(items: readonly { readonly count: number }[]): number {
  return items.reduce((sum, { count }) => sum + count, 0);
}

/** A question about a dimension, of those values that contain `text`. */
export function searched(page: Page, question: Question, dimension: string, text: string): Question {
  return text ? { ...question, filter: [...page.filters, `${dimension}:contains:${text}`] } : question;
}

/** Calls with the text of a field, once nothing has been typed for a moment. */
export function debounced(then: (text: string) => void): (event: Event) => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return ({ target }) => {
    clearTimeout(timer);
    timer = setTimeout(() => then((target as HTMLInputElement).value.trim()), 250);
  };
}
