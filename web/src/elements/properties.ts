/**
 * `<nealytics-properties>`: the metadata keys that the tenant's events have, as tabs, each with its most frequent
 * values. One question answers all tabs.
 */

import type { Question } from "../data/client.ts";
import type { Page } from "../data/page.ts";
import { type Item, NealyticsTop } from "./top.ts";

export interface Property {
  readonly key: string;
  readonly distinctValues: number;
  readonly values: readonly { readonly value: string; readonly count: number; readonly share: number }[];
}

const KEYS_MAX = 4;
/** With a value of its own in nearly every event, such as an id or an amount, a key makes no list. */
const DISTINCT_MAX = 1000;

export class NealyticsProperties extends NealyticsTop {
  static readonly question = (limit: number): Question => ({ endpoint: "properties", limit: KEYS_MAX, values: limit });

  /** The keys that make a list. */
  static listed(answer: { readonly keys: readonly Property[] } | undefined): readonly Property[] {
    return (answer?.keys ?? []).filter(({ distinctValues }) => distinctValues > 1 && distinctValues < DISTINCT_MAX);
  }

  override questions(_page: Page): Record<string, Question> {
    return { properties: NealyticsProperties.question(this.limit) };
  }

  protected override get asksByChoice(): boolean {
    return false;
  }

  get #keys(): readonly Property[] {
    return NealyticsProperties.listed(this.answers["properties"] as { keys?: Property[] } as { keys: Property[] } | undefined);
  }

  protected override get dimensions(): readonly string[] {
    return this.#keys.map(({ key }) => key);
  }

  protected override get items(): readonly Item[] {
    const values = this.#keys.find(({ key }) => key === this.shown)?.values ?? [];
    return values.map(({ value, count, share }) => ({ key: value, count, share }));
  }
}
