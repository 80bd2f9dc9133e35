/**
 * `<nealytics-dashboard>`: the controls and, around its children or a layout of its own, one page.
 *
 * Without children it shows what the tenant's data has: pages if events have items, retention if they have users.
 */

import { css, html, nothing, type PropertyValues, type TemplateResult, unsafeCSS } from "lit";

import { type Answer, QueryError } from "../data/client.ts";
import type { Asker } from "../data/page.ts";
import { PageState } from "../data/url.ts";
import { COMPARISONS, isDay, preset, PRESETS, type Range } from "../data/range.ts";
import { type ENGLISH, type Key } from "../text/messages.ts";
import { WithPage } from "./base.ts";
import { download, icon } from "./dom.ts";
import { summaryOf } from "./figures.ts";
import { NealyticsProperties, type Property } from "./properties.ts";
import { controls, theme } from "./styles.ts";
import { debounced, type Item, nameOf, searched } from "./top.ts";

const STATE_EVENTS = ["nealytics-range-change", "nealytics-filter-change", "nealytics-measure-change"];
const TENANT = "tenant_id:eq:";
const TENANTS_MAX = 500;
/** What filters are offered for, beside the metadata keys in use. */
const FIELDS = ["event_type", "item_id", "user_id"];
const VALUES_MAX = 50;
/** The last record of an export, behind the end of the line before. */
const EXPORT_END = /\n"nealyticsExport\.end","\d+",*\r\n$/;
const EXPORT_END_BYTES = 256;
/** Up to this width the menus are sheets at the bottom of the screen. */
const PHONE_PX = 600;

type Menu = "range" | "compare" | "add-filter" | "more";

export class NealyticsDashboard extends WithPage {
  static override properties = {
    funnel: {},
    syncUrl: { attribute: "sync-url" },
    open: { state: true },
    has: { state: true },
    tenants: { state: true },
    said: { state: true },
    field: { state: true },
    search: { state: true },
    empty: { state: true },
  };
  /** Steps of a funnel in the layout, as `<nealytics-funnel steps>` takes them. */
  declare funnel: string | undefined;
  /** Keeps range, comparison and filters in the address of the page; its value is the prefix there. */
  declare syncUrl: string | undefined;
  declare protected open: Menu | undefined;
  /** For which a filter is being chosen, and the text that its values are searched for. */
  declare protected field: string | undefined;
  declare protected search: string;
  /** Of the whole project, if the token opens it. */
  declare protected tenants: readonly string[] | undefined;
  /** For a moment, after something was done that shows nothing else. */
  declare protected said: string;
  /** Nobody sent anything in this range. */
  declare protected empty: boolean;
  declare protected has: { items: boolean; users: boolean; keys: boolean };
  #keys: readonly string[] = [];
  #values: readonly Item[] | undefined;

  static override styles = [
    theme,
    controls,
    css`
      :host {
        container-name: page;
      }
      .bar {
        position: sticky;
        inset-block-start: var(--nealytics-sticky, 0px);
        z-index: 10;
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px;
        margin: -8px -8px calc(var(--_gap) - 8px);
        padding: 8px;
        border-radius: 0 0 var(--_radius) var(--_radius);
      }
      /* Only then, since an element has no background of its own. */
      .bar[data-stuck] {
        background: color-mix(in oklab, var(--_sheet) 88%, transparent);
        backdrop-filter: blur(12px);
        box-shadow: 0 1px 0 var(--_border);
      }
      .sample {
        margin-block-end: var(--_gap);
      }
      .chips {
        display: contents;
      }
      .end {
        margin-inline-start: auto;
      }
      .bar .said {
        color: var(--_muted);
        font-size: 13px;
      }
      .bar > .pick {
        max-width: 200px;
      }
      [part="range"] {
        min-width: 0;
        max-width: 100%;
      }
      .name {
        overflow: hidden;
        text-overflow: ellipsis;
      }
      .chip {
        display: inline-flex;
        align-items: center;
        gap: 4px;
        max-width: min(320px, 100%);
        min-height: 34px;
        padding-inline: 12px 4px;
        border-radius: 8px;
        background: color-mix(in oklab, var(--_accent) 12%, transparent);
      }
      .chip span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .printed {
        display: none;
        margin: 0 0 var(--_gap);
      }
      .layout,
      ::slotted(*) {
        min-width: 0;
      }
      .layout {
        display: grid;
        grid-template-columns: repeat(12, minmax(0, 1fr));
        gap: var(--_gap);
      }
      .layout > * {
        grid-column: span 6;
      }
      .layout > .wide {
        grid-column: 1 / -1;
      }
      slot {
        display: grid;
        gap: var(--_gap);
      }
      form {
        display: grid;
        gap: 8px;
        padding: 8px 10px;
        border-block-start: 1px solid var(--_border);
        margin-block-start: 6px;
      }
      .dates {
        display: grid;
        grid-template-columns: 1fr 1fr;
        gap: 8px;
      }
      label {
        display: grid;
        gap: 2px;
        font-size: 12px;
        color: var(--_muted);
      }
      .values {
        max-height: 320px;
        min-height: 120px;
        width: 280px;
        overflow-y: auto;
        overscroll-behavior: contain;
        scrollbar-width: thin;
      }
      .values .item span:first-child {
        flex: 1;
        overflow: hidden;
        text-overflow: ellipsis;
      }
      .search {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 4px;
        margin-block-end: 6px;
      }
      .values p {
        margin: 10px;
      }
      @container page (max-width: 760px) {
        .layout > * {
          grid-column: 1 / -1;
        }
      }
      .sheet[popover] {
        position: fixed;
        inset: auto 0 0;
        width: auto;
        max-height: 85vh;
        margin: 0;
        padding: 12px 12px max(16px, env(safe-area-inset-bottom));
        border-width: 1px 0 0;
        border-radius: 16px 16px 0 0;
        color: inherit;
        overflow-y: auto;
        animation: rise 0.18s ease-out;
      }
      .sheet[popover]::backdrop {
        background: rgb(0 0 0 / 40%);
      }
      .sheet[popover] .item {
        min-height: 44px;
      }
      .sheet[popover] .values {
        width: auto;
      }
      @keyframes rise {
        from {
          transform: translateY(40%);
          opacity: 0;
        }
      }
      @container page (max-width: ${unsafeCSS(PHONE_PX)}px) {
        /* One line, and what narrows the page in another below it. */
        .bar > .menu:first-child {
          min-width: 0;
          flex: 0 1 auto;
        }
        .bar {
          flex-wrap: wrap;
        }
        .bar > .pick {
          order: 1;
          flex: 1 0 100%;
          max-width: none;
        }
        .chips:not(:empty) {
          order: 1;
          flex: 1 0 100%;
          display: flex;
          gap: 8px;
          overflow-x: auto;
          scrollbar-width: none;
        }
        .chip {
          flex: none;
        }
        .icon-only .name,
        .icon-only svg:last-child:not(:first-child) {
          display: none;
        }
        .icon-only {
          width: 34px;
          padding: 0;
          justify-content: center;
        }
      }
      @media (prefers-reduced-motion: reduce) {
        .sheet[popover] {
          animation: none;
        }
      }
      @media print {
        .bar {
          display: none;
        }
        .printed {
          display: block;
        }
        .layout > * {
          grid-column: span 6;
        }
        .layout > .wide {
          grid-column: 1 / -1;
        }
      }
    `,
  ];

  #asker: Asker | undefined;
  #state: PageState | undefined;

  constructor() {
    super();
    this.said = "";
    this.search = "";
    this.empty = false;
    // Until the first answer says otherwise: so that all of it is asked at once.
    this.has = { items: true, users: true, keys: true };
  }

  protected override get ownsPage(): boolean {
    return true;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("pointerdown", this.#pressed);
    this.page.addEventListener("renewed", this.#renewed); // also while it is out of the document
    this.#children.observe(this, { childList: true });
    if (this.syncUrl !== undefined) {
      this.#state ??= new PageState(this.page, this.syncUrl || "nealytics");
      this.#state.read(location.href);
      window.addEventListener("popstate", this.#read);
      for (const event of STATE_EVENTS) this.page.addEventListener(event, this.#write);
    }
    // What the controls and the layout depend on, asked with the first request of the page.
    this.#asker = {
      rank: 1, // the first chart does not wait for these
      questions: (page) => ({
        summary: summaryOf(page),
        ...(this.childElementCount > 0 ? {} : { items: { endpoint: "top", dimension: "item_id", limit: 8 } }),
        ...(this.childElementCount === 0 || this.open === "add-filter" ? { keys: NealyticsProperties.question(8) } : {}),
        ...(this.field ? { values: searched(this.page, { endpoint: "top", dimension: this.field, limit: VALUES_MAX }, this.field, this.search) } : {}),
        // All of them, also while one is chosen.
        ...(this.tenants ? { tenants: { endpoint: "top", dimension: "tenant_id", limit: TENANTS_MAX, filter: null } } : {}),
      }),
      receive: (answers) => this.#adapt(answers),
      waiting: () => {},
    } satisfies Asker;
    this.page.add(this.#asker);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#children.disconnect();
    document.removeEventListener("pointerdown", this.#pressed);
    if (this.#asker) this.page.remove(this.#asker);
    window.removeEventListener("popstate", this.#read);
    for (const event of STATE_EVENTS) this.page.removeEventListener(event, this.#write);
  }

  /** A tenant that was picked is none of the next person's. */
  readonly #renewed = (): void => {
    if (this.#tenant !== undefined) this.page.filters = this.page.filters.filter((filter) => !filter.startsWith(TENANT));
    this.tenants = this.#values = undefined;
    this.#keys = [];
  };

  readonly #children = new MutationObserver(() => {
    if (this.#slotted === this.childElementCount > 0) return;
    this.requestUpdate();
    if (this.#asker) this.page.askAgain(this.#asker);
  });
  #slotted: boolean | undefined;

  readonly #write = (): void => {
    const address = this.#state?.write(location.href) ?? location.href;
    if (address !== location.href) history.pushState(history.state, "", address);
  };

  readonly #read = (): void => {
    // Each step would write an address of its own.
    for (const event of STATE_EVENTS) this.page.removeEventListener(event, this.#write);
    this.#state?.read(location.href);
    for (const event of STATE_EVENTS) this.page.addEventListener(event, this.#write);
  };

  #adapt(answers: Record<string, Answer | QueryError>): void {
    const of = <T>(name: string): T | undefined => (answers[name] instanceof QueryError ? undefined : (answers[name] as T));
    const summary = of<{ users: number; events: number; tenantId?: string }>("summary");
    const tenants = of<{ items: { key: string }[] }>("tenants")?.items.map(({ key }) => key);
    if (tenants) this.tenants = tenants;
    else if (summary && summary.tenantId === undefined && !this.tenants) {
      this.tenants = [];
      this.page.askAgain(this.#asker as Asker);
    } else if (summary?.tenantId !== undefined) this.tenants = undefined;
    this.#values = of<{ items: Item[] }>("values")?.items;
    this.empty = summary?.events === 0;
    const keys = NealyticsProperties.listed(of<{ keys: Property[] }>("keys"));
    if (answers["keys"]) this.#keys = keys.map(({ key }) => key);
    this.requestUpdate();
    if (!summary?.events) return; // an empty range says nothing about the next one
    const has = {
      items: (of<{ items: unknown[] }>("items")?.items.length ?? 0) > 0,
      users: summary.users > 0,
      keys: keys.length > 0,
    };
    if (JSON.stringify(has) !== JSON.stringify(this.has)) this.has = has;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    super.willUpdate(changed);
    // The elements around it take these from here.
    if (this.hasUpdated && ["messages", "lang", "dev"].some((name) => changed.has(name))) this.page.dispatchEvent(new CustomEvent("change"));
    if (changed.has("open")) this.field = undefined;
    if (changed.has("field")) this.search = "";
    if (this.field ? changed.has("field") || changed.has("search") : this.open === "add-filter" && changed.has("open")) {
      if (changed.has("field")) this.#values = undefined;
      this.page.askAgain(this.#asker as Asker);
    }
  }

  override updated(changed: PropertyValues): void {
    super.updated(changed);
    if (!this.open || !(changed.has("open") || changed.has("field"))) return;
    const sheet = this.renderRoot.querySelector<HTMLElement>(".sheet");
    // In the top layer, which no container of the page around cuts off.
    if (sheet?.hasAttribute("popover") && !sheet.matches(":popover-open")) sheet.showPopover();
    sheet?.querySelector<HTMLElement>("input[type=search], .item")?.focus();
  }

  override render(): TemplateResult {
    this.#slotted = this.childElementCount > 0;
    return html`<div class="edge"></div>
      <div class="bar" part="controls" @keydown=${this.#escape} @focusout=${this.#left}>
        ${this.#rangeMenu()}${this.#compareMenu()}
        ${this.tenants?.length ? this.#tenantMenu(this.tenants) : nothing}
        <div class="chips">${this.page.filters.filter((filter) => !this.tenants || !filter.startsWith(TENANT)).map((filter) => this.#chip(filter))}</div>
        ${this.#filterMenu()}${this.#moreMenu()}
      </div>
      <p class="printed">${this.#printed()}</p>
      ${this.dev && this.empty ? this.sample() : nothing}
      ${this.#slotted ? html`<slot></slot>` : this.#layout()}`;
  }

  #layout(): TemplateResult {
    const { items, users, keys } = this.has;
    const tenants = this.tenants && !this.#tenant;
    return html`<div class="layout" part="layout">
      <nealytics-figures class="wide"></nealytics-figures>
      <nealytics-timeseries class="wide"></nealytics-timeseries>
      ${tenants
        ? html`<nealytics-timeseries group-by="tenant_id" kind="line" heading=${this.format.text("tenant_id")}></nealytics-timeseries>
            <nealytics-top dimension="tenant_id"></nealytics-top>`
        : nothing}
      <nealytics-top dimension="event_type"></nealytics-top>
      ${items ? html`<nealytics-top dimension="item_id"></nealytics-top>` : nothing}
      ${users ? html`<nealytics-active></nealytics-active>` : nothing}
      <nealytics-heatmap class=${users ? "" : "wide"}></nealytics-heatmap>
      ${this.funnel ? html`<nealytics-funnel class="wide" steps=${this.funnel}></nealytics-funnel>` : nothing}
      ${users ? html`<nealytics-retention class=${keys ? "" : "wide"}></nealytics-retention>` : nothing}
      ${keys ? html`<nealytics-properties class=${users ? "" : "wide"}></nealytics-properties>` : nothing}
    </div>`;
  }

  /** What the controls say, for paper. */
  #printed(): string {
    const f = this.format;
    const { range, comparedRange: before, filters } = this.page;
    const compared = before && `${f.text("compare")}: ${f.days(before.from, before.to)}`;
    return [f.days(range.from, range.to), compared, ...filters.map((filter) => this.#named(filter).join(" "))].filter(Boolean).join(" · ");
  }

  /** A menu below its button; on a phone a sheet. */
  #sheet(label: string, content: unknown, end = false): TemplateResult {
    return html`<div class="sheet ${end ? "end" : ""}" role="dialog" aria-label=${label} popover=${this.clientWidth <= PHONE_PX ? "manual" : nothing}>${content}</div>`;
  }

  #rangeMenu(): TemplateResult {
    const f = this.format;
    const { range } = this.page;
    const name = range.preset ? f.text(range.preset) : f.days(range.from, range.to);
    return html`<div class="menu">
      <button class="button" part="range" aria-haspopup="dialog" aria-expanded=${this.open === "range"} @click=${() => this.#toggle("range")}>
        ${icon("calendar")}<span class="name">${name}</span>${icon("chevron")}
      </button>
      ${this.open === "range"
        ? this.#sheet(f.text("custom"), html`
            ${PRESETS.map((one) => html`<button class="item" aria-current=${range.preset === one ? "true" : "false"}
              @click=${() => this.#choose(preset(one, this.page.today))}>${f.text(one)}</button>`)}
            <form @submit=${this.#custom}>
              <div class="dates">
                <label>${f.text("from")}<input class="field" name="from" type="date" required .value=${range.from} max=${this.page.today}></label>
                <label>${f.text("to")}<input class="field" name="to" type="date" required .value=${range.to}></label>
              </div>
              <button class="button primary">${f.text("apply")}</button>
            </form>`)
        : nothing}
    </div>`;
  }

  #compareMenu(): TemplateResult {
    const f = this.format;
    const text = (one: (typeof COMPARISONS)[number]): string => f.text(`compare_${one}` as Key & keyof typeof ENGLISH);
    return html`<div class="menu">
      <button class="button icon-only" part="compare" aria-haspopup="dialog" aria-label="${f.text("compare")}: ${text(this.page.comparison)}" aria-expanded=${this.open === "compare"} @click=${() => this.#toggle("compare")}>
        ${icon("compare")}<span class="name">${text(this.page.comparison)}</span>${icon("chevron")}
      </button>
      ${this.open === "compare"
        ? this.#sheet(f.text("compare"), COMPARISONS.map((one) => html`<button class="item" aria-current=${this.page.comparison === one ? "true" : "false"}
              @click=${() => this.#close(() => (this.page.comparison = one))}>${text(one)}</button>`))
        : nothing}
    </div>`;
  }

  /** A filter as people read it: what, how, which. */
  #named(filter: string): [string, string, string] {
    const [, field = "", op = "", value = ""] = /^((?:meta:)?(?:[^:\\]|\\.)*):(\w+):(.*)$/s.exec(filter) ?? [];
    return [nameOf(this.format, field), op === "eq" ? "=" : op, value];
  }

  #chip(filter: string): TemplateResult {
    const [name, op, value] = this.#named(filter);
    return html`<span class="chip" part="filter"><span title="${name} ${op} ${value}">${name} ${op} <bdi>${value}</bdi></span>
      <button class="button icon quiet" aria-label="${this.format.text("remove_filter")}: ${name} ${value}"
        @click=${() => this.page.removeFilter(filter)}>${icon("close")}</button>
    </span>`;
  }

  #filterMenu(): TemplateResult {
    const f = this.format;
    return html`<div class="menu">
      <button class="button icon-only" part="add-filter" aria-haspopup="dialog" aria-label=${f.text("add_filter")} aria-expanded=${this.open === "add-filter"} @click=${() => this.#toggle("add-filter")}>
        ${icon("filter")}<span class="name">${f.text("filter")}</span>
      </button>
      ${this.open === "add-filter" ? this.#sheet(f.text("add_filter"), this.field ? this.#fieldValues(this.field) : this.#fields()) : nothing}
    </div>`;
  }

  #fields(): TemplateResult {
    return html`<div class="values">${[...FIELDS, ...this.#keys].map((field) => html`<button class="item" @click=${() => (this.field = field)}>
      <span>${nameOf(this.format, field)}</span></button>`)}</div>`;
  }

  #fieldValues(field: string): TemplateResult {
    const f = this.format;
    const values = this.#values;
    return html`<div class="search">
        <button class="button icon quiet" aria-label=${f.text("add_filter")} @click=${() => (this.field = undefined)}>${icon("back")}</button>
        <input class="field" type="search" placeholder="${f.text("search")}: ${nameOf(f, field)}" aria-label="${f.text("search")}: ${nameOf(f, field)}" @input=${this.#search}>
      </div>
      <div class="values">
        ${values?.map(({ key, count }) => html`<button class="item" title=${key} @click=${() => this.#close(() => this.page.addFilter(`${field}:eq:${key}`))}>
          <span><bdi>${key}</bdi></span><span class="muted number">${f.short(count)}</span></button>`)}
        ${values?.length ? nothing : html`<p class="muted" role="status">${values ? f.text("no_match") : `${f.text("loading")} …`}</p>`}
      </div>`;
  }

  readonly #search = debounced((text) => (this.search = text));

  get #tenant(): string | undefined {
    return this.page.filters.find((filter) => filter.startsWith(TENANT))?.slice(TENANT.length);
  }

  #tenantMenu(tenants: readonly string[]): TemplateResult {
    const f = this.format;
    const tenant = this.#tenant;
    const choose = (event: Event): void => {
      const { value } = event.target as HTMLSelectElement;
      const others = this.page.filters.filter((filter) => !filter.startsWith(TENANT));
      this.page.filters = value ? [...others, TENANT + value] : others;
    };
    const shown = tenant === undefined || tenants.includes(tenant) ? tenants : [tenant, ...tenants];
    return html`<span class="pick"><select part="tenant" aria-label=${f.text("tenant_id")} @change=${choose}>
      <option value="" .selected=${tenant === undefined}>${f.text("all_tenants")}</option>
      ${shown.map((one) => html`<option value=${one} .selected=${one === tenant}>${one}</option>`)}
    </select>${icon("chevron")}</span>`;
  }

  #moreMenu(): TemplateResult {
    const f = this.format;
    const item = (key: Key, act: () => void): TemplateResult =>
      html`<button class="item" @click=${() => this.#close(act)}>${f.text(key)}</button>`;
    return html`<span class="said end" role="status">${this.said}</span><div class="menu">
      <button class="button icon" part="more" aria-haspopup="dialog" aria-label=${f.text("more")} aria-expanded=${this.open === "more"} @click=${() => this.#toggle("more")}>
        ${icon("more")}
      </button>
      ${this.open === "more"
        ? this.#sheet(f.text("more"), html`
            ${item("download_all", () => void this.#export())}
            ${this.#state ? item("copy_link", () => void this.#copyLink()) : nothing}
            ${item("print", () => window.print())}`, true)
        : nothing}
    </div>`;
  }

  async #copyLink(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.#state?.write(location.href) ?? location.href);
      this.#say(this.format.text("copied"));
    } catch (error) {
      console.warn(`nealytics: the browser does not allow to copy: ${String(error)}`);
      this.#say(this.format.text("copy_failed"));
    }
  }

  /** All events of the range and the filters, as the export route writes them. */
  async #export(): Promise<void> {
    const { from, to, tz, filter } = this.page.shared;
    const query = new URLSearchParams([["format", "csv"], ["end", "true"], ["from", from], ["to", to], ["tz", tz], ...filter.map((one) => ["filter", one])]);
    this.#say(`${this.format.text("loading")} …`, Number.POSITIVE_INFINITY);
    try {
      // By fetch, since a link could not send the token; so the browser holds the file until it is complete.
      const response = await this.page.client.fetch(`api/v1/telemetry/export?${query}`, {});
      const file = await response.blob();
      // A proxy may make a complete answer of one that broke off.
      const end = EXPORT_END.exec(await file.slice(-EXPORT_END_BYTES).text());
      if (!end) throw new QueryError("export_cut", "the export is not complete: its last record is missing");
      download(`events-${from}-${to}.csv`, file.slice(0, file.size - end[0].length + 1), "text/csv;charset=utf-8");
      this.#say("");
    } catch (error) {
      console.warn(`nealytics: export: ${String(error)}`);
      this.#say(this.format.text(error instanceof QueryError && error.code === "offline" ? "offline" : "export_failed"));
    }
  }

  #say(text: string, ms = 4_000): void {
    this.said = text;
    if (Number.isFinite(ms)) setTimeout(() => (this.said = this.said === text ? "" : this.said), ms);
  }

  #toggle(menu: Menu): void {
    this.open = this.open === menu ? undefined : menu;
  }

  #choose(range: Range): void {
    this.#close(() => (this.page.range = range));
  }

  #close(then: () => void): void {
    const menu = this.open;
    this.open = undefined;
    then();
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(`[part="${menu}"]`)?.focus());
  }

  readonly #custom = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.target as HTMLFormElement);
    const [one, other] = [String(data.get("from")), String(data.get("to"))].sort() as [string, string];
    if (isDay(one) && isDay(other)) this.#choose({ from: one, to: other });
  };

  readonly #escape = (event: KeyboardEvent): void => {
    if (event.key === "Escape" && this.open) this.#close(() => {});
  };

  readonly #left = (event: FocusEvent): void => {
    const menu = (event.target as Element).closest(".menu");
    const to = event.relatedTarget as Node | null;
    if (this.open && to && menu && !menu.contains(to)) this.open = undefined;
  };

  readonly #pressed = (event: PointerEvent): void => {
    const inside = event.composedPath().some((node) => node instanceof Element && node.matches(".bar .menu"));
    if (!inside) this.open = undefined;
  };

  override firstUpdated(changed: PropertyValues): void {
    super.firstUpdated(changed);
    // The bar is stuck once the line above it is out of sight.
    const [edge, bar] = [".edge", ".bar"].map((name) => this.renderRoot.querySelector(name) as HTMLElement) as [HTMLElement, HTMLElement];
    new IntersectionObserver(([entry]) => {
      const above = entry !== undefined && !entry.isIntersecting && entry.boundingClientRect.top < (entry.rootBounds?.top ?? 0);
      bar.toggleAttribute("data-stuck", above);
    }).observe(edge);
  }
}

