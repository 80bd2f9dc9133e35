/** Keeps range, comparison, measure and filters in the address of the page, while its element is in the document. */

import { PageState } from "../../data/url.ts";
import type { Page } from "../../data/page.ts";

const STATE_EVENTS = ["nealytics-range-change", "nealytics-filter-change", "nealytics-measure-change"];

export class Address {
  readonly #state: PageState;

  constructor(
    private readonly page: Page,
    prefix: string,
  ) {
    this.#state = new PageState(page, prefix);
  }

  connect(): void {
    window.addEventListener("popstate", this.#read);
    this.#read();
  }

  disconnect(): void {
    window.removeEventListener("popstate", this.#read);
    this.#listen(false);
  }

  /** The address with what the page shows. */
  get now(): string {
    return this.#state.write(location.href);
  }

  #listen(on: boolean): void {
    for (const event of STATE_EVENTS) this.page[on ? "addEventListener" : "removeEventListener"](event, this.#write);
  }

  readonly #write = (): void => {
    if (this.now !== location.href) history.pushState(history.state, "", this.now);
  };

  readonly #read = (): void => {
    // Each step would write an address of its own.
    this.#listen(false);
    this.#state.read(location.href);
    this.#listen(true);
  };
}
