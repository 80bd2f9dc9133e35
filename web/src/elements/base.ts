/**
 * What every element is: a card that asks its page and shows the answer, or why there is none.
 *
 * Inside of a `nealytics-dashboard` it shares that one's page; alone it has a page of its own, set by its
 * attributes `range`, `tz`, `compare`, `filter`, `src` and its property `getToken`.
 */

import { html, LitElement, nothing, type PropertyDeclarations, type PropertyValues, type TemplateResult } from "lit";

import { type Answer, type GetToken, QueryError, type Question } from "../data/client.ts";
import { type Asker, Page } from "../data/page.ts";
import { COMPARISONS, type Comparison, type Preset, preset, PRESETS, rangeOf, rangeText } from "../data/range.ts";
import { Format } from "../text/format.ts";
import type { Messages } from "../text/messages.ts";
import { loadingOf, wordsOf } from "../text/words.ts";
import { csv, download, fileName, icon, type Table } from "./dom.ts";
import { canRetry, reasonOf } from "./reason.ts";
import { card, controls, theme } from "./styles.ts";

declare const SERVED_BY_NODE: boolean;
/** Where a node's own script was loaded from is where the API is. Out of a package it may be anywhere: `src` says. */
const BASE = SERVED_BY_NODE ? new URL(".", import.meta.url).href : "";
/** What the host sets and a person may change: applied to the page when the host changes it, and not again. */
const HOST_SETS = ["tz", "compare", "filter", "range"] as const;

const GET_TOKEN_WAIT_MS = 2_000;

/** Of the page, told to the host by the element that owns it. */
const HOST_EVENTS = [
  "nealytics-ready",
  "nealytics-range-change",
  "nealytics-filter-change",
  "nealytics-measure-change",
  "nealytics-error",
];

export type Answers = Record<string, Answer | QueryError>;

/** An element with a page: its own, or that of the dashboard around it. */
export abstract class WithPage extends LitElement {
  static override properties: PropertyDeclarations = {
    src: {},
    range: {},
    tz: {},
    compare: {},
    filter: {},
    lang: {},
    theme: { reflect: true },
    dev: { type: Boolean },
    messages: { attribute: false },
    getToken: { attribute: false },
    sampleCopied: { state: true },
  };
  declare src: string | undefined;
  declare range: string | undefined;
  declare tz: string | undefined;
  declare compare: string | undefined;
  declare filter: string | undefined;
  declare theme: string | undefined;
  declare dev: boolean | undefined;
  declare messages: Messages | undefined;
  declare getToken: GetToken | undefined;
  declare protected sampleCopied: "copy" | "copy_failed" | undefined;

  #page: Page | undefined;
  #format: Format | undefined;
  readonly #relay = (event: Event): void => {
    this.requestUpdate();
    if (event instanceof CustomEvent && event.type !== "change") this.#emit(event.type, event.detail);
  };

  /** The element whose page this one shares; undefined if it is on its own. */
  protected get owner(): WithPage | undefined {
    for (let node: Node | null = this; node; ) {
      const parent: Element | null = node instanceof Element ? node.parentElement : null;
      node = parent ?? (node.getRootNode() as ShadowRoot).host ?? null;
      if (node instanceof WithPage && node.ownsPage) return node;
    }
    return undefined;
  }

  protected get ownsPage(): boolean {
    return false;
  }

  get page(): Page {
    const owner = this.ownsPage ? undefined : this.owner;
    if (owner) return owner.page;
    if (!this.#page) {
      this.#page = new Page(this.#base, () => this.#callGetToken());
      for (const event of ["change", ...HOST_EVENTS]) this.#page.addEventListener(event, this.#relay);
      this.#applyAttributes();
    }
    return this.#page;
  }

  get format(): Format {
    const lang = this.language;
    const used = [wordsOf(lang), this.owner?.messages, this.messages];
    if (this.#format?.lang !== lang || this.#format.tz !== this.page.tz || used.some((messages, i) => messages !== this.#messagesUsed[i])) {
      this.#messagesUsed = used;
      this.#format = new Format(lang, this.page.tz, Object.assign({}, ...used) as Messages);
    }
    return this.#format;
  }
  #messagesUsed: readonly (Messages | undefined)[] = [];

  /** The first that names a language, also as other systems write it (`en_US`). `Intl` throws for others. */
  get language(): string {
    for (const one of [this.lang, this.owner?.language, document.documentElement.lang, navigator.language]) {
      try {
        const [found] = Intl.getCanonicalLocales(one ? one.replaceAll("_", "-") : []);
        if (found) return found;
      } catch {} // names none: the next
    }
    return "en";
  }

  /** Not in English first. */
  protected override scheduleUpdate(): void | Promise<unknown> {
    const loading = loadingOf(this.language);
    return loading ? loading.then(() => super.scheduleUpdate()) : super.scheduleUpdate();
  }

  override willUpdate(changed: Map<string, unknown>): void {
    if (!this.#page) return;
    this.#applyAttributes();
    const tokenChanged = changed.has("getToken") && changed.get("getToken") !== undefined;
    if (tokenChanged || this.#base !== this.#page.client.base) this.#page.renew(this.#base);
    else if (changed.has("getToken") && this.getToken) {
      this.#page.refresh(); // set after the first request has failed for want of it
    }
  }

  async #callGetToken(): Promise<string> {
    // Frameworks set it after the element is connected.
    for (let waited = 0; !this.getToken && waited < GET_TOKEN_WAIT_MS; waited += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    if (!this.getToken) throw new QueryError("no_token", `<${this.localName}> has no getToken`);
    return this.getToken();
  }

  /** With a slash at its end, so that paths stand behind it. */
  get #base(): string {
    return this.src ? new URL(this.src.replace(/\/*$/, "/"), document.baseURI).href : BASE;
  }

  readonly #applied: Partial<Record<(typeof HOST_SETS)[number], string | null>> = {};

  #applyAttributes(): void {
    const page = this.#page;
    if (!page) return;
    for (const name of HOST_SETS) {
      const value = this[name];
      if (value === this.#applied[name]) continue;
      this.#applied[name] = value;
      if (value !== undefined && value !== null) this.#apply(page, name);
    }
  }

  #apply(page: Page, name: (typeof HOST_SETS)[number]): void {
    if (name === "tz" && this.tz && this.tz !== page.tz) {
      try {
        page.tz = this.tz;
      } catch {
        console.error(`nealytics: tz is "${this.tz}", which is no time zone; ${page.tz} is used`);
      }
    }
    if (name === "compare" && this.compare && this.compare !== page.comparison) {
      if ((COMPARISONS as readonly string[]).includes(this.compare)) page.comparison = this.compare as Comparison;
      else console.error(`nealytics: compare is "${this.compare}"; write one of ${COMPARISONS.join(", ")}`);
    }
    if (name === "filter") {
      const filters = (this.filter ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
      if (String(filters) !== String(page.filters)) page.filters = filters;
    }
    if (name === "range" && this.range && this.range !== rangeText(page.range)) {
      const found = (PRESETS as readonly string[]).includes(this.range) ? preset(this.range as Preset, page.today) : rangeOf(this.range);
      if (found) page.range = found;
      else console.error(`nealytics: range is "${this.range}"; write one of ${PRESETS.join(", ")}, or 2026-06-01..2026-06-30`);
    }
  }

  /** With `dev` set: the line that sends a first event of this tenant, to copy. */
  protected sample(): TemplateResult {
    const f = this.format;
    const { projectId, tenantId = "TENANT" } = this.page.client.owner ?? { projectId: "PROJECT" };
    const event = { projectId, tenantId, sessionId: "session-1", userId: "user-1", eventType: "signup" };
    const line = `curl ${this.page.client.base}api/v1/telemetry/track -H 'Content-Type: application/json' -H 'X-Project-Key: KEY' -d '${JSON.stringify(event).replaceAll("'", "'\\''")}'`;
    const copy = async (): Promise<void> => {
      try {
        await navigator.clipboard.writeText(line); // there is none over plain http
        this.sampleCopied = "copy";
      } catch (error) {
        console.warn(`nealytics: the browser does not allow copying: ${String(error)}`);
        this.sampleCopied = "copy_failed";
      }
    };
    return html`<div class="sample" part="sample"><p class="muted">${f.text("token_is_for", projectId, tenantId)} ${f.text("first_event")}</p><code>${line}</code>
      <button class="button" @click=${copy}>${this.sampleCopied === "copy" ? "✓ " : ""}${f.text(this.sampleCopied ?? "copy")}</button></div>`;
  }

  #emit(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

export abstract class Card extends WithPage implements Asker {
  static override styles = [theme, controls, card];
  static override properties: PropertyDeclarations = {
    heading: {},
    state: { state: true },
    menuOpen: { state: true },
    outdatedSince: { state: true },
  };
  declare heading: string | undefined;
  declare protected state: "loading" | "stale" | "ready";
  declare protected menuOpen: boolean;
  /** When its answers came, if the same was asked again and failed. */
  declare protected outdatedSince: Date | undefined;
  #outdatedBy: QueryError | undefined;
  protected answers: Answers = {};
  /** The one that it is added to: it has left its owner when it is disconnected. */
  protected pageAsked: Page | undefined;
  #epoch = 0; // of the page, when it was disconnected

  constructor() {
    super();
    this.state = "loading";
    this.menuOpen = false;
  }

  abstract questions(page: Page): Record<string, Question>;
  /** The heading if the host sets none. */
  protected abstract defaultHeading(): string;
  /** Called only with an answer to every question. */
  protected abstract content(): unknown;
  protected abstract isEmpty(): boolean;
  /** What is shown, as a table: for the CSV, and for screen readers where the picture is an SVG. */
  protected abstract table(): Table;
  /** In the place of the content until it is there, of the same height. */
  protected skeleton(): TemplateResult {
    return html`<div class="skeleton block"></div>`;
  }

  protected answer<T>(name: string): T {
    return this.answers[name] as T;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const { page, pageAsked } = this;
    // What it shows may be another person's or tenant's.
    if (pageAsked && (pageAsked !== page || this.#epoch !== page.epoch)) this.forget();
    this.pageAsked = page;
    page.add(this);
    for (const event of ["change", "renewed"]) page.addEventListener(event, this.#update);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    const page = this.pageAsked as Page;
    this.#epoch = page.epoch;
    page.remove(this);
    for (const event of ["change", "renewed"]) page.removeEventListener(event, this.#update);
  }

  override firstUpdated(changed: PropertyValues): void {
    super.firstUpdated(changed);
    new ResizeObserver(this.fade).observe(this);
  }

  override updated(changed: PropertyValues): void {
    super.updated(changed);
    this.fade();
  }

  /** What goes on to the side fades at its end. */
  protected readonly fade = (): void => {
    for (const one of this.renderRoot.querySelectorAll(".fades")) {
      one.toggleAttribute("data-more", Math.abs(one.scrollLeft) + one.clientWidth < one.scrollWidth - 1);
    }
  };

  readonly #update = (event?: Event): void => {
    if (event?.type === "renewed") this.forget();
    this.requestUpdate();
  };

  /** Shows nothing of what it knows. */
  protected forget(): void {
    this.state = "loading";
    this.answers = {};
    this.outdatedSince = undefined;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    super.willUpdate(changed);
    const own = [...changed.keys()].some((name) => this.asksBy().includes(name));
    if (own && this.hasUpdated) this.page.askAgain(this);
  }

  /** The properties that change what is asked. */
  protected asksBy(): readonly string[] {
    return [];
  }

  waiting(): void {
    this.state = this.state === "loading" ? "loading" : "stale";
  }

  receive(answers: Answers): void {
    this.answers = answers;
    this.state = "ready";
    this.outdatedSince = undefined;
    this.#hold();
    this.requestUpdate();
  }

  outdated(error: QueryError, since: Date): void {
    this.state = "ready";
    this.outdatedSince = since;
    this.#outdatedBy = error;
  }

  /** An error keeps the height of what it stands for, so that the page around does not scroll away. */
  #hold(): void {
    const body = this.renderRoot.querySelector<HTMLElement>(".body");
    if (body) body.style.minHeight = this.problem ? `${body.offsetHeight}px` : "";
  }

  protected get problem(): QueryError | undefined {
    return Object.values(this.answers).find((answer): answer is QueryError => answer instanceof QueryError);
  }

  override render(): TemplateResult {
    const { problem } = this;
    const ready = this.state !== "loading" && !problem;
    const empty = ready && this.isEmpty();
    return html`<section part="card" role="group" aria-labelledby="title" aria-busy=${this.state === "ready" ? "false" : "true"}>
      <header part="header">
        <h3 part="title" id="title"><bdi class="clipped">${this.heading ?? this.defaultHeading()}</bdi></h3>
        ${this.actions()}${ready && !empty ? this.#menu() : nothing}
      </header>
      <div part="body" class="body" data-state=${this.state}>
        ${this.state === "loading" ? this.skeleton() : problem ? this.#problem(problem) : empty ? this.#nothing() : this.content()}
      </div>
      ${ready && this.outdatedSince && !this.#isSaidOnce(this.#outdatedBy)
        ? html`<p part="outdated" class="outdated" role="status">${this.format.text("outdated", this.format.moment(this.outdatedSince))}</p>`
        : nothing}
    </section>`;
  }

  /** Beside the heading. */
  protected actions(): unknown {
    return nothing;
  }

  #menu(): TemplateResult {
    const f = this.format;
    return html`<div class="menu" @focusout=${this.#left} @keydown=${this.#escape}>
      <button class="button icon quiet" aria-expanded=${this.menuOpen}
        aria-label="${f.text("more")}: ${this.heading ?? this.defaultHeading()}" @click=${() => (this.menuOpen = !this.menuOpen)}>
        ${icon("more")}
      </button>
      ${this.menuOpen
        ? html`<div class="sheet end">
            <button class="item" @click=${this.#downloadCsv}>${f.text("download_csv")}</button>
          </div>`
        : nothing}
    </div>`;
  }

  readonly #left = (event: FocusEvent): void => {
    if (!(event.currentTarget as Element).contains(event.relatedTarget as Node | null)) this.menuOpen = false;
  };

  readonly #escape = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !this.menuOpen) return;
    this.menuOpen = false;
    (event.currentTarget as Element).querySelector("button")?.focus();
  };

  readonly #downloadCsv = (): void => {
    this.menuOpen = false;
    const name = (this.heading ?? this.defaultHeading()).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
    download(`${name}-${fileName(this.page.range)}.csv`, `\uFEFF${csv(this.table())}`, "text/csv;charset=utf-8");
  };

  #nothing(): TemplateResult {
    const f = this.format;
    const filtered = this.page.filters.length > 0;
    return html`<div class="note" part="empty"><p>${f.text(filtered ? "empty_filtered" : "empty")}</p><p class="muted">${f.text(filtered ? "empty_hint" : "empty_longer")}</p>
      ${this.dev && !this.owner ? this.sample() : nothing}</div>`;
  }

  /** The dashboard around it shows an error that all of its elements have. */
  #isSaidOnce(error: QueryError | undefined): boolean {
    return error?.isCommon === true && this.owner !== undefined;
  }

  #problem(error: QueryError): TemplateResult {
    if (this.#isSaidOnce(error)) return html`<div class="absent" aria-hidden="true">${this.skeleton()}</div>`;
    const f = this.format;
    const [title, hint] = reasonOf(error, f);
    return html`<div class="note" part="error" role="status">
      <p>${title}</p>
      ${hint ? html`<p class="muted">${hint}</p>` : nothing}
      ${this.dev ?? this.owner?.dev ? html`<p class="muted"><code>${error.code}</code> ${error.message}</p>` : nothing}
      ${canRetry(error) ? html`<button class="button" @click=${() => this.page.retry(this)}>${f.text("retry")}</button>` : nothing}
    </div>`;
  }

  /** The table for screen readers, beside a picture that is hidden from them. */
  protected hiddenTable(): TemplateResult {
    const { head, rows, read = (key) => key } = this.table();
    // In a block of its own: a table takes the width of its content, whatever it is told.
    return html`<div class="sr"><table>
      <caption>${this.heading ?? this.defaultHeading()}</caption>
      <thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${row.map((cell, i) => (i ? html`<td>${cell}</td>` : html`<th scope="row">${read(String(cell))}</th>`))}</tr>`)}</tbody>
    </table></div>`;
  }
}
