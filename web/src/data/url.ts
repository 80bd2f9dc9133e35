/**
 * The state of a page in a query string, under one prefix: `?nealytics-range=7d&nealytics-filter=…`.
 *
 * What is as the element's attributes say is left out, and parameters of others stay as they are.
 */

import { type Measure, MEASURES, type Page } from "./page.ts";
import { COMPARISONS, type Comparison, type Preset, preset, PRESETS, rangeOf, rangeText } from "./range.ts";

export class PageState {
  readonly #start: Readonly<Record<string, readonly string[]>>;

  /** What `page` has at the moment is left out of every address. */
  constructor(
    private readonly page: Page,
    private readonly prefix: string,
  ) {
    this.#start = this.#values();
  }

  /** `address` with the state of the page in it. */
  write(address: string): string {
    const url = new URL(address);
    for (const [name, values] of Object.entries(this.#values())) {
      const key = `${this.prefix}-${name}`;
      url.searchParams.delete(key);
      if (String(values) === String(this.#start[name])) continue;
      // An empty one says that there is none, where an attribute has some.
      for (const value of values.length > 0 ? values : [""]) url.searchParams.append(key, value);
    }
    return url.href;
  }

  /** Brings the page to the state in `address`. What makes no sense there is as at the start. */
  read(address: string): void {
    const found = new URL(address).searchParams;
    const of = (name: string): readonly string[] => {
      const values = found.getAll(`${this.prefix}-${name}`);
      return values.length > 0 ? values.filter(Boolean) : (this.#start[name] ?? []);
    };
    const now = this.#values();
    const [range = ""] = of("range");
    if (range !== now["range"]?.[0]) {
      const found = (PRESETS as readonly string[]).includes(range) ? preset(range as Preset, this.page.today) : rangeOf(range);
      if (found) this.page.range = found;
    }
    const [comparison = ""] = of("compare");
    if (comparison !== this.page.comparison && (COMPARISONS as readonly string[]).includes(comparison)) {
      this.page.comparison = comparison as Comparison;
    }
    const [measure = ""] = of("measure");
    if ((MEASURES as readonly string[]).includes(measure)) this.page.measure = measure as Measure;
    if (String(of("filter")) !== String(now["filter"])) this.page.filters = of("filter");
  }

  #values(): Record<string, readonly string[]> {
    const { range, comparison, measure, filters } = this.page;
    return { range: [rangeText(range)], compare: [comparison], measure: [measure], filter: filters };
  }
}
