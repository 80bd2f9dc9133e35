/** Whether there is a first event at any time; asked only where the range and the filters have none. */

import { html, type TemplateResult } from "lit";

import { type Answer, QueryError, type Question } from "../../data/client.ts";
import type { WithPage } from "../base.ts";

export class FirstEvent {
  /** Undefined while it is not known. */
  #exists: boolean | undefined;
  #isWanted = false;

  constructor(
    private readonly host: WithPage,
    /** The tenant of a page of the whole project, as a filter. */
    private readonly tenant: () => readonly string[],
    private readonly ask: () => void,
  ) {}

  forget(): void {
    this.#exists = undefined;
  }

  get isMissing(): boolean {
    return this.#isWanted && this.#exists === false;
  }

  /** Of an unknown length, so the least that says whether there is any. */
  questions(): Record<string, Question> {
    if (!this.#isWanted || this.#exists) return {};
    const { today } = this.host.page;
    return { ever: { endpoint: "top", dimension: "event_type", limit: 1, from: "1970-01-01", to: today, filter: this.tenant() } };
  }

  receive({ ever }: Record<string, Answer | QueryError>, isEmpty: boolean): void {
    const wasWanted = this.#isWanted;
    this.#isWanted = isEmpty;
    if (ever && !(ever instanceof QueryError)) this.#exists = (ever["items"] as unknown[]).length > 0;
    else if (isEmpty && !wasWanted && !this.#exists) this.ask();
  }

  /** In place of a page of zeros. */
  render(sample: unknown): TemplateResult {
    const f = this.host.format;
    return html`<div class="first" part="empty"><p>${f.text("no_events")}</p><p class="muted">${f.text("no_events_hint")}</p>${sample}</div>`;
  }
}
