/**
 * `<nealytics-dashboard>`: the controls and, around its children or a layout of its own, one page.
 *
 * Without children it shows what the tenant's data has: pages if events have items, retention if they have users; and
 * with a token of the whole project its tenants beside each other. The parts of the controls are in `dashboard/`.
 */

import { html, nothing, type TemplateResult } from "lit";

import { type Answer, QueryError, type Question } from "../data/client.ts";
import type { Asker } from "../data/page.ts";
import { WithPage } from "./base.ts";
import { Address } from "./dashboard/address.ts";
import { Filters } from "./dashboard/filters.ts";
import { FirstEvent } from "./dashboard/first.ts";
import { Menus } from "./dashboard/menus.ts";
import { MoreMenu } from "./dashboard/more.ts";
import { compareMenu, rangeMenu } from "./dashboard/period.ts";
import { dashboard } from "./dashboard/styles.ts";
import { TenantPicker } from "./dashboard/tenants.ts";
import { summaryOf } from "./figures.ts";
import { notice, noticeStyles } from "./notice.ts";
import { controls, theme } from "./styles.ts";

export class NealyticsDashboard extends WithPage {
  static override properties = {
    funnel: {},
    syncUrl: { attribute: "sync-url" },
    has: { state: true },
    empty: { state: true },
  };
  /** Steps of a funnel in the layout, as `<nealytics-funnel steps>` takes them. */
  declare funnel: string | undefined;
  /** Keeps range, comparison and filters in the address of the page; its value is the prefix there. */
  declare syncUrl: string | undefined;
  /** Nobody sent anything in this range. */
  declare protected empty: boolean;
  declare protected has: { items: boolean; users: boolean; keys: boolean };

  static override styles = [theme, controls, noticeStyles, dashboard];

  readonly #ask = (): void => {
    if (this.isConnected) this.page.askAgain(this.#asker);
  };
  readonly #menus = new Menus(this);
  readonly #filters = new Filters(this, this.#menus, this.#ask);
  readonly #tenants = new TenantPicker(this);
  readonly #first = new FirstEvent(this, () => this.page.filters.filter((filter) => !this.#tenants.others.includes(filter)), this.#ask);
  readonly #more = new MoreMenu(this, this.#menus, () => this.#address?.now);
  #address: Address | undefined;
  #askedOfProject = false;
  #slotted: boolean | undefined;

  /** What the controls and the layout depend on, asked with the first request of the page. */
  readonly #asker: Asker = {
    rank: 1, // the first chart does not wait for these
    questions: (page) => this.#questions(summaryOf(page)),
    receive: (answers) => this.#receive(answers),
    waiting: () => {},
  };

  constructor() {
    super();
    this.empty = false;
    // Until the first answer says otherwise: so that all of it is asked at once.
    this.has = { items: true, users: true, keys: true };
  }

  protected override get ownsPage(): boolean {
    return true;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.page.addEventListener("renewed", this.#renewed); // also while it is out of the document
    this.#children.observe(this, { childList: true });
    if (this.syncUrl !== undefined) {
      this.#address ??= new Address(this.page, this.syncUrl || "nealytics");
      this.#address.connect();
    }
    this.page.add(this.#asker);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#children.disconnect();
    this.#address?.disconnect();
    this.page.remove(this.#asker);
  }

  readonly #renewed = (): void => {
    this.#tenants.forget();
    this.#filters.forget();
    this.#first.forget();
  };

  readonly #children = new MutationObserver(() => {
    if (this.#slotted === this.childElementCount > 0) return;
    this.requestUpdate();
    this.#ask();
  });

  #questions(summary: Question): Record<string, Question> {
    const ownLayout = this.childElementCount === 0;
    this.#askedOfProject = this.page.client.isOfProject;
    return {
      summary,
      ...(ownLayout ? { items: { endpoint: "top", dimension: "item_id", limit: 8 } } : {}),
      ...this.#filters.questions(ownLayout),
      ...this.#tenants.questions(),
      ...this.#first.questions(),
    };
  }

  #receive(answers: Record<string, Answer | QueryError>): void {
    this.#tenants.receive(answers);
    this.#filters.receive(answers);
    this.requestUpdate();
    const of = <T>(name: string): T | undefined => (answers[name] instanceof QueryError ? undefined : (answers[name] as T));
    const summary = of<{ users: number; events: number }>("summary");
    // Whose the answers are may be another than the token's claims seemed to say.
    if (summary && this.page.client.isOfProject && !this.#askedOfProject) this.#ask();
    this.empty = summary?.events === 0;
    if (summary) this.#first.receive(answers, this.empty);
    if (!summary?.events) return; // an empty range says nothing about the next one
    const has = {
      items: answers["items"] instanceof QueryError ? this.has.items : (of<{ items: unknown[] }>("items")?.items.length ?? 0) > 0,
      users: summary.users > 0,
      keys: this.#filters.hasKeys,
    };
    if (JSON.stringify(has) !== JSON.stringify(this.has)) this.has = has;
  }

  override willUpdate(changed: Map<string, unknown>): void {
    super.willUpdate(changed);
    // The elements around it take these from here.
    if (this.hasUpdated && ["messages", "lang", "dev"].some((name) => changed.has(name))) this.page.dispatchEvent(new CustomEvent("change"));
  }

  override firstUpdated(changed: Map<string, unknown>): void {
    super.firstUpdated(changed);
    // The bar is stuck once the line above it is out of sight.
    const [edge, bar] = [".edge", ".bar"].map((name) => this.renderRoot.querySelector(name) as HTMLElement) as [HTMLElement, HTMLElement];
    new IntersectionObserver(([entry]) => {
      const above = entry !== undefined && !entry.isIntersecting && entry.boundingClientRect.top < (entry.rootBounds?.top ?? 0);
      bar.toggleAttribute("data-stuck", above);
    }).observe(edge);
  }

  override render(): TemplateResult {
    this.#slotted = this.childElementCount > 0;
    const filters = this.page.client.isOfProject ? this.#tenants.others : this.page.filters;
    const first = this.#first.isMissing && this.#isAllOurs;
    const isBlank = this.page.isBlank && this.#isAllOurs;
    const sample = this.dev && this.empty ? this.sample() : nothing;
    return html`<div><div class="edge"></div>
      <div class="bar" part="controls" @keydown=${this.#menus.escape} @focusout=${this.#menus.left}>
        ${rangeMenu(this, this.#menus)}${compareMenu(this, this.#menus)}${this.#tenants.menu()}
        ${this.#filters.chips(filters)}${this.#filters.menu()}${this.#more.menu()}
      </div>
      <p class="printed">${this.#printed()}</p>
      ${notice(this.page, this.format, this.dev === true, isBlank)}
      ${first ? this.#first.render(sample) : sample}
      ${first ? nothing : html`<div ?hidden=${isBlank}>${this.#slotted ? html`<slot></slot>` : this.#layout()}</div>`}</div>`;
  }

  /** Whether there is nothing of the host in it. */
  get #isAllOurs(): boolean {
    return [...this.children].every(({ localName }) => localName.startsWith("nealytics-"));
  }

  #layout(): TemplateResult {
    const { items, users, keys } = this.has;
    const tenants = this.page.client.isOfProject && this.#tenants.picked === undefined;
    return html`<div class="layout" part="layout">
      <nealytics-figures class="wide"></nealytics-figures>
      <nealytics-timeseries class="wide"></nealytics-timeseries>
      ${tenants
        ? html`<nealytics-tenants class="wide"></nealytics-tenants>
            <nealytics-timeseries class="wide" group-by="tenant_id" kind="line" heading=${this.format.text("tenants_events")}></nealytics-timeseries>`
        : nothing}
      <nealytics-top dimension="event_type"></nealytics-top>
      ${items ? html`<nealytics-top dimension="item_id"></nealytics-top>` : nothing}
      ${users ? html`<nealytics-active></nealytics-active>` : nothing}
      <nealytics-heatmap class=${items === users ? "" : "wide"}></nealytics-heatmap>
      ${this.funnel ? html`<nealytics-funnel class="wide" steps=${this.funnel}></nealytics-funnel>` : nothing}
      ${users ? html`<nealytics-retention class=${keys ? "" : "wide"}></nealytics-retention>` : nothing}
      ${keys ? html`<nealytics-properties class=${users ? "" : "wide"}></nealytics-properties>` : nothing}
    </div>`;
  }

  /** What the controls say, for paper. */
  #printed(): string {
    const f = this.format;
    const { range, comparedRange: before, filters } = this.page;
    const compared = before && `${f.text("compare")}: ${f.range(before)}`;
    return [f.range(range), compared, ...filters.map((filter) => this.#filters.named(filter).join(" "))].filter(Boolean).join(" · ");
  }
}
