/** The filters of a page: those that hold, as chips, and the menu that adds one, first by its field and then by its value. */

import { html, nothing, type TemplateResult } from "lit";

import { type Answer, QueryError, type Question } from "../../data/client.ts";
import type { Property } from "../../data/properties.ts";
import type { WithPage } from "../base.ts";
import { icon } from "../dom.ts";
import { NealyticsProperties } from "../properties.ts";
import { debounced, type Item, nameOf, searched } from "../top.ts";
import type { Menus } from "./menus.ts";

/** What filters are offered for, beside the metadata keys in use. */
const FIELDS = ["event_type", "item_id", "user_id"];
const VALUES_MAX = 50;
const KEY_VALUES = 8;

export class Filters {
  #keys: readonly string[] = [];
  /** For which a filter is being chosen, and the text that its values are searched for. */
  #field: string | undefined;
  #text = "";
  #values: readonly Item[] | undefined;

  constructor(
    private readonly host: WithPage,
    private readonly menus: Menus,
    /** Asks the questions again. */
    private readonly ask: () => void,
  ) {
    menus.changed = () => {
      this.#field = undefined;
      if (menus.open === "add-filter") this.ask();
    };
  }

  /** Nothing of what is known holds for the next person. */
  forget(): void {
    this.#keys = [];
    this.#values = undefined;
  }

  /** `keys` are also what the layout goes by. */
  questions(withKeys: boolean): Record<string, Question> {
    const { page } = this.host;
    const field = this.#field;
    return {
      ...(withKeys || this.menus.open === "add-filter" ? { keys: NealyticsProperties.question(KEY_VALUES) } : {}),
      ...(field ? { values: searched(page, { endpoint: "top", dimension: field, limit: VALUES_MAX }, field, this.#text) } : {}),
    };
  }

  receive(answers: Record<string, Answer | QueryError>): void {
    const { keys, values } = answers as Record<string, unknown>;
    if (keys) this.#keys = NealyticsProperties.listed(keys instanceof QueryError ? undefined : (keys as { keys: Property[] })).map(({ key }) => key);
    this.#values = values instanceof QueryError ? undefined : (values as { items: Item[] } | undefined)?.items;
  }

  /** Whether events have metadata that a list can show. */
  get hasKeys(): boolean {
    return this.#keys.length > 0;
  }

  /** A filter as people read it: what, how, which. */
  named(filter: string): [string, string, string] {
    const [, field = "", op = "", value = ""] = /^((?:meta:)?(?:[^:\\]|\\.)*):(\w+):(.*)$/s.exec(filter) ?? [];
    return [this.#one(field), op === "eq" ? "=" : op, value];
  }

  /** A field as it is named beside one value of it. */
  #one(field: string): string {
    const { format } = this.host;
    const key = ({ event_type: "one_event_type", item_id: "one_item_id", user_id: "user", session_id: "session" } as const)[field];
    return key ? format.text(key) : nameOf(format, field);
  }

  chips(filters: readonly string[]): TemplateResult {
    return html`<div class="chips">${filters.map((filter) => this.#chip(filter))}</div>`;
  }

  #chip(filter: string): TemplateResult {
    const [name, op, value] = this.named(filter);
    const { format, page } = this.host;
    return html`<span class="chip" part="filter"><span title="${name} ${op} ${value}">${name} ${op} <bdi>${value}</bdi></span>
      <button class="button icon quiet" aria-label="${format.text("remove_filter")}: ${name} ${value}" @click=${() => page.removeFilter(filter)}>${icon("close")}</button>
    </span>`;
  }

  menu(): TemplateResult {
    const f = this.host.format;
    const look = { title: f.text("add_filter"), label: f.text("add_filter"), icon: "filter", name: f.text("filter"), classes: "icon-only" } as const;
    return this.menus.menu("add-filter", look, () => (this.#field ? this.#valuesOf(this.#field) : this.#fields()));
  }

  #fields(): TemplateResult {
    const names = [...FIELDS, ...this.#keys];
    return html`<div class="values">${names.map((field) => html`<button class="item" @click=${() => this.#choose(field)}>
      <span>${nameOf(this.host.format, field)}</span></button>`)}</div>`;
  }

  #choose(field: string | undefined): void {
    this.#field = field;
    this.#text = "";
    this.#values = undefined;
    if (field) this.ask();
    this.menus.refocus();
  }

  #valuesOf(field: string): TemplateResult {
    const { format: f, page } = this.host;
    const values = this.#values;
    const name = `${f.text("search")}: ${nameOf(f, field)}`;
    return html`<div class="search">
        <button class="button icon quiet" aria-label=${f.text("add_filter")} @click=${() => this.#choose(undefined)}>${icon("back")}</button>
        <input class="field" type="search" placeholder=${name} aria-label=${name} @input=${this.#search}>
      </div>
      <div class="values">
        ${values?.map(({ key, count }) => html`<button class="item" title=${key} @click=${() => this.menus.close(() => page.addFilter(`${field}:eq:${key}`))}>
          <span><bdi class="clipped">${key}</bdi></span><span class="muted number">${f.short(count)}</span></button>`)}
        ${values?.length ? nothing : html`<p class="muted" role="status">${values ? f.text("no_match") : `${f.text("loading")} …`}</p>`}
      </div>`;
  }

  readonly #search = debounced((text) => {
    this.#text = text;
    this.ask();
  });
}
