/**
 * `<nealytics-properties>`: the metadata keys that the tenant's events have, as tabs, each with its most frequent
 * values. One question answers all tabs; another only where a list is searched or shown whole.
 */

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { isDivision, type Property } from "../data/properties.ts";
import { type Item, NealyticsTop, sumOf } from "./top.ts";

/** The tabs scroll, so that each key in use can have one. */
const KEYS_MAX = 20;
/** More than are listed: SDKs add keys to every event that make no list. */
const ASKED_MAX = 60;

export class NealyticsProperties extends NealyticsTop {
  static readonly question = (limit: number): Question => ({ endpoint: "properties", limit: ASKED_MAX, values: limit });

  /** The keys that make a list. */
  static listed(answer: { readonly keys: readonly Property[] } | undefined): readonly Property[] {
    return (answer?.keys ?? []).filter(isDivision).slice(0, KEYS_MAX);
  }

  override questions(page: Page): Record<string, Question> {
    const properties = NealyticsProperties.question(this.limit);
    return this.expanded || this.search ? { properties, ...super.questions(page) } : { properties };
  }

  protected override get asksByChoice(): boolean {
    return this.expanded;
  }

  get #keys(): readonly Property[] {
    const { properties } = this.answers as unknown as Record<string, { keys: Property[] } | undefined>;
    return NealyticsProperties.listed(properties);
  }

  get #key(): Property | undefined {
    return this.#keys.find(({ key }) => key === this.shown);
  }

  protected override get dimensions(): readonly string[] {
    return this.#keys.map(({ key }) => key);
  }

  /** Whether there is an answer for this tab alone, with all of its values. */
  get #whole(): boolean {
    return this.answers["top"] !== undefined && this.answered === this.shown;
  }

  protected override get listed(): string {
    return this.shown;
  }

  protected override get items(): readonly Item[] {
    if (this.#whole) return super.items;
    return (this.#key?.values ?? []).map(({ key, count, share }) => ({ key, value: count, count, share }));
  }

  protected override get other(): number {
    return this.#whole ? super.other : (this.#key?.events ?? 0) - sumOf(this.items);
  }
}
