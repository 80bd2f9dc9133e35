/** The picker of a tenant, on a page of the whole project. */

import { html, nothing, type TemplateResult } from "lit";

import { type Answer, QueryError, type Question } from "../../data/client.ts";
import type { WithPage } from "../base.ts";
import { icon } from "../dom.ts";

const TENANT = "tenant_id:eq:";
const TENANTS_MAX = 500;

export class TenantPicker {
  #names: readonly string[] = [];

  constructor(private readonly host: WithPage) {}

  /** A tenant that was picked is none of the next person's. */
  forget(): void {
    this.#names = [];
    if (this.picked !== undefined) this.pick("");
  }

  /** All tenants, also while one is picked. */
  questions(): Record<string, Question> {
    if (!this.host.page.client.isOfProject) return {};
    return { tenants: { endpoint: "top", dimension: "tenant_id", limit: TENANTS_MAX, filter: null } };
  }

  receive({ tenants }: Record<string, Answer | QueryError>): void {
    if (tenants && !(tenants instanceof QueryError)) this.#names = (tenants as unknown as { items: { key: string }[] }).items.map(({ key }) => key);
  }

  get picked(): string | undefined {
    return this.host.page.filters.find((filter) => filter.startsWith(TENANT))?.slice(TENANT.length);
  }

  /** The filters that are not the picker's. */
  get others(): readonly string[] {
    return this.host.page.filters.filter((filter) => !filter.startsWith(TENANT));
  }

  /** The empty name stands for all of them. */
  pick(tenant: string): void {
    this.host.page.filters = tenant ? [...this.others, TENANT + tenant] : this.others;
  }

  /** Nothing where there is no choice. */
  menu(): TemplateResult | typeof nothing {
    const { picked } = this;
    if (!this.host.page.client.isOfProject || this.#names.length === 0) return nothing;
    const f = this.host.format;
    const names = picked === undefined || this.#names.includes(picked) ? this.#names : [picked, ...this.#names];
    return html`<span class="pick"><select part="tenant" aria-label=${f.text("tenant_id")}
        @change=${(event: Event) => this.pick((event.target as HTMLSelectElement).value)}>
      <option value="" .selected=${picked === undefined}>${f.text("all_tenants")}</option>
      ${names.map((one) => html`<option value=${one} .selected=${one === picked}>${one}</option>`)}
    </select>${icon("chevron")}</span>`;
  }
}
