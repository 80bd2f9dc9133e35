/**
 * What the elements of a page share: range, time zone, comparison, filters, token; and their questions, which go
 * out together.
 *
 * Every change makes one request for everything that is shown, and ends the one before. Answers about closed
 * ranges are kept in memory, so that going back is instant. While a request is on its way each element keeps its
 * last answer.
 */

import { type Answer, Client, type GetToken, QueryError, type Question, type Shared } from "./client.ts";
import type { ErrorDetail, FilterDetail, NealyticsEvents, RangeDetail, ReadyDetail } from "./host-events.ts";
import { type Comparison, compared, endsOf, intervalFor, type Interval, minuteNow, preset, type Range, soFar, today } from "./range.ts";

type Answers = Record<string, Answer | QueryError>;

/** An element that asks. */
export interface Asker {
  /** What it wants to know at the moment, by names of its own. */
  questions(page: Page): Record<string, Question>;
  /** Answers to all of them, or errors. */
  receive(answers: Answers): void;
  /** The same was asked again and failed, in place of `receive`: what it shows is of `since`. */
  outdated?(error: QueryError, since: Date): void;
  /** Its questions are on their way. */
  waiting(): void;
  /** Whose questions begin sooner: those of the lower number; 0 without one. */
  readonly rank?: number;
}

/** A request on its way, and who waits for it. */
interface Running {
  readonly abort: AbortController;
  readonly askers: readonly Asker[];
}

/** What a chart of the page may show; the figures choose among them. */
export const MEASURES = ["users", "sessions", "events"] as const;
export type Measure = (typeof MEASURES)[number];

/** Whether it is not one of these, but one of the API: `sum(meta:amount)`. */
export function isOwn(measure: string | undefined): measure is string {
  return Boolean(measure) && !(MEASURES as readonly string[]).includes(measure as string);
}

/** How its numbers are written: shares in percent, all others in the currency, if there is one. */
export function unitOf(measure: string, currency: string | undefined): string | undefined {
  return /^(session_)?rate\(/.test(measure) ? "percent" : currency;
}

/** Whether the values of all groups add up to that of all events, of which the API's `share` is then a part. */
export function isAdditive(measure: string): boolean {
  return /^(count$|count\[|sum\()/.test(measure);
}

const ANSWERS_KEPT = 200;
const REFRESH_MS = 60_000;
const RETRY_MS = 5_000;
const RETRY_MS_MAX = 60_000;

/** What keeps all elements of a page from an answer. */
export interface Trouble {
  readonly error: QueryError;
  /** When the answers came that are still shown; undefined if there are none. */
  readonly since: Date | undefined;
}

export class Page extends EventTarget {
  readonly client: Client;
  #tz = browserZone();
  #range: Range;
  #comparison: Comparison = "previous";
  #filters: readonly string[] = [];
  #measure: Measure = "events";
  #zoomedFrom: readonly Range[] = [];
  #followers = 0;
  readonly #askers = new Set<Asker>();
  readonly #answers = new Map<string, Answer>();
  #fresh = new Set<Asker>();
  #scheduled = false;
  readonly #running = new Set<Running>();
  /** The request that each of them waits for: what an earlier one brings is not shown. */
  readonly #awaited = new WeakMap<Asker, Running>();
  /** What each of them shows, if it is no error. */
  #shown = new WeakMap<Asker, { readonly asked: string; readonly at: Date }>();
  #hasShown = false;
  #sharedAsked: Shared | undefined; // until something changes
  #epoch = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #askedAt = 0;
  readonly #failed = new Set<Asker>(); // whose last request failed as a whole, so it is tried again
  #problem: QueryError | undefined; // that they have in common
  #trouble: Trouble | undefined;
  #failures = 0; // one after the other
  readonly #logged = new Set<string>(); // until all is well again
  readonly #unknown = new Set<string>(); // logged once for the page
  #ready = false;

  constructor(base: string, getToken?: GetToken) {
    super();
    this.client = new Client(base, getToken, () => this.#drop());
    this.#range = preset("30d", this.today);
  }

  get today(): string {
    return today(this.#tz, new Date());
  }

  get range(): Range {
    return this.#range;
  }
  set range(range: Range) {
    this.#zoomedFrom = [];
    this.#setRange(range);
  }

  /** Shows a part of the range; `zoomOut` goes back to what was shown before. */
  zoom(range: Range): void {
    this.#zoomedFrom = [...this.#zoomedFrom, this.#range];
    this.#setRange(range);
  }

  zoomOut(): void {
    const before = this.#zoomedFrom.at(-1);
    if (!before) return;
    this.#zoomedFrom = this.#zoomedFrom.slice(0, -1);
    this.#setRange(before);
  }

  get isZoomed(): boolean {
    return this.#zoomedFrom.length > 0;
  }

  #setRange(range: Range): void {
    this.#range = range;
    this.#changed("nealytics-range-change", this.#rangeDetail);
  }

  get measure(): Measure {
    return this.#measure;
  }
  /** Asks nothing: charts that follow it ask for themselves. */
  set measure(measure: Measure) {
    if (measure === this.#measure) return;
    this.#measure = measure;
    this.dispatchEvent(new CustomEvent("change"));
    this.#tell("nealytics-measure-change", { measure });
  }

  /** How many charts show `measure`. */
  get followers(): number {
    return this.#followers;
  }
  set followers(followers: number) {
    this.#followers = followers;
    this.dispatchEvent(new CustomEvent("change"));
  }

  get tz(): string {
    return this.#tz;
  }
  /** Throws a `RangeError` for a zone that the browser does not know. */
  set tz(tz: string) {
    today(tz, new Date());
    this.#tz = tz;
    if (this.#range.preset) this.#range = preset(this.#range.preset, this.today);
    this.#changed("nealytics-range-change", this.#rangeDetail);
  }

  get comparison(): Comparison {
    return this.#comparison;
  }
  set comparison(comparison: Comparison) {
    this.#comparison = comparison;
    this.#changed("nealytics-range-change", this.#rangeDetail);
  }

  get filters(): readonly string[] {
    return this.#filters;
  }
  set filters(filters: readonly string[]) {
    this.#filters = [...new Set(filters)];
    this.#changed("nealytics-filter-change", { filters: this.#filters });
  }

  get comparedRange(): Range | undefined {
    return compared(this.#range, this.#comparison);
  }

  /** As `comparedRange`, up to the time of the last day that today has reached. */
  get comparedSoFar(): Range | undefined {
    const before = this.comparedRange;
    return before && soFar(this.#range, before, minuteNow(this.#tz, new Date()));
  }

  get interval(): Interval {
    return intervalFor(this.#range);
  }

  get shared(): Shared {
    return { ...endsOf(this.#range), tz: this.#tz, filter: this.#filters };
  }

  addFilter(...filters: readonly string[]): void {
    if (!filters.every((filter) => this.#filters.includes(filter))) this.filters = [...this.#filters, ...filters];
  }

  removeFilter(filter: string): void {
    this.filters = this.#filters.filter((other) => other !== filter);
  }

  get trouble(): Trouble | undefined {
    return this.#trouble;
  }

  /** Whether no element has ever had an answer, and now there is a reason. */
  get isBlank(): boolean {
    return this.#trouble !== undefined && !this.#hasShown;
  }

  get isAsking(): boolean {
    return this.#scheduled || this.#running.size > 0;
  }

  add(asker: Asker): void {
    this.#askers.add(asker);
    this.#fresh.add(asker);
    this.#schedule();
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(this.#tick, REFRESH_MS);
    window.addEventListener("online", this.#tick);
    document.addEventListener("visibilitychange", this.#tick);
  }

  remove(asker: Asker): void {
    this.#askers.delete(asker);
    this.#fresh.delete(asker);
    this.#failed.delete(asker);
    this.#awaited.delete(asker);
    this.#shown.delete(asker);
    this.#updateTrouble();
    if (this.#askers.size > 0) return;
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#timer = undefined;
    window.removeEventListener("online", this.#tick);
    document.removeEventListener("visibilitychange", this.#tick);
    this.#abort();
  }

  /** Asks again for one element, whose own parameters have changed, or after an error. */
  askAgain(asker: Asker): void {
    this.#fresh.add(asker);
    this.#schedule();
  }

  /** What the button of an element that failed does: all of them failed together, or only this one. */
  retry(asker: Asker): void {
    if (this.#failed.has(asker)) this.refresh();
    else this.askAgain(asker);
  }

  /** Asks everything again, such as after a new token. */
  refresh(): void {
    for (const asker of this.#askers) this.#fresh.add(asker);
    this.#schedule();
  }

  /**
   * Another node, or a token that may be another person's: nothing that is known holds any more.
   *
   * Whoever keeps answers drops them at the event "renewed".
   */
  renew(base = this.client.base): void {
    this.client.base = base;
    this.client.forgetToken();
    this.#drop();
  }

  /** Another number after each "renewed", for elements that were not there to hear it. */
  get epoch(): number {
    return this.#epoch;
  }

  #drop(): void {
    this.#epoch += 1;
    this.#scheduled = false; // a pending request may use another person's token
    this.#answers.clear();
    this.#shown = new WeakMap();
    this.#hasShown = false;
    this.dispatchEvent(new CustomEvent("renewed"));
    this.#askAllAgain();
  }

  get #rangeDetail(): RangeDetail {
    return { ...this.#range, comparison: this.#comparison, tz: this.#tz };
  }

  #changed(event: "nealytics-range-change" | "nealytics-filter-change", detail: RangeDetail | FilterDetail): void {
    this.dispatchEvent(new CustomEvent("change"));
    this.#tell(event, detail);
    this.#askAllAgain();
  }

  #askAllAgain(): void {
    this.#sharedAsked = undefined;
    this.#abort();
    this.refresh();
  }

  #abort(): void {
    for (const { abort } of this.#running) abort.abort();
    this.#running.clear();
  }

  #tell<Name extends keyof NealyticsEvents>(name: Name, detail: NealyticsEvents[Name]["detail"]): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Once in the console, however many elements have it, until all is well again. */
  #tellError({ code, message, status }: QueryError, question?: Question): void {
    const line = `${code}: ${message}`;
    if (!this.#logged.has(line)) console.warn(`nealytics: ${question ? `${question.endpoint}: ` : ""}${line}`);
    this.#logged.add(line);
    const detail: ErrorDetail = { code, message, status, ...(question && { endpoint: question.endpoint }) };
    this.#tell("nealytics-error", detail);
  }

  /** A misspelt parameter of a saved query changes nothing, so nobody sees it on the page. */
  #tellUnknown(answer: Answer, { endpoint }: Question): void {
    for (const { code, message } of (answer["warnings"] ?? []) as { code: string; message: string }[]) {
      const line = `nealytics: ${endpoint}: ${message}`;
      if (code !== "unknown_parameter" || this.#unknown.has(line)) continue;
      console.warn(line);
      this.#unknown.add(line);
    }
  }

  /** Each minute, and when the tab is seen again or the network is back, perhaps after a long sleep. */
  readonly #tick = (event?: Event): void => {
    if (document.hidden) return;
    if (event?.type === "visibilitychange" && this.#failed.size === 0 && Date.now() < this.#askedAt + REFRESH_MS) return;
    if (this.#failed.size === 0) this.client.renewToken();
    if (this.#range.preset) {
      const moved = preset(this.#range.preset, this.today);
      if (moved.from !== this.#range.from || moved.to !== this.#range.to) {
        this.range = moved;
        return;
      }
    }
    if (this.#failed.size > 0 || this.#range.to >= this.today) this.refresh();
  };

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (this.#trouble) this.dispatchEvent(new CustomEvent("change"));
    // After the elements of this turn have been connected, so that a page is one request.
    setTimeout(() => void this.#begin());
  }

  /** The first request waits for the token: elements that only the whole project has are in it, too. */
  async #begin(): Promise<void> {
    const epoch = this.#epoch;
    let problem: QueryError | undefined;
    if (!this.client.owner) {
      for (const asker of this.#fresh) if (this.#askers.has(asker)) asker.waiting();
      problem = await this.client.prepare();
      if (epoch !== this.#epoch) return; // it was the token of somebody else
      if (this.client.isOfProject) {
        this.dispatchEvent(new CustomEvent("change"));
        await new Promise((resolve) => setTimeout(resolve)); // until those are connected
      }
    }
    this.#scheduled = false;
    await this.#ask(problem);
  }

  async #ask(problem: QueryError | undefined): Promise<void> {
    const askers = [...this.#fresh].filter((asker) => this.#askers.has(asker)).sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
    this.#fresh = new Set();
    const shared = (this.#sharedAsked ??= this.shared);
    const asked = askers.map((asker) => ({ asker, questions: asker.questions(this) }));
    const keys = new Map<string, Question>();
    for (const { questions } of asked) {
      for (const question of Object.values(questions)) {
        const key = JSON.stringify([shared, question]);
        if (!this.#answers.has(key)) keys.set(key, question);
      }
    }
    const names = [...keys.keys()];
    const found = new Map<string, Answer | QueryError>(this.#answers);
    let failed = false;
    // To each element as soon as all of its own answers are there.
    const waiting = new Set(asked);
    const deliver = (): void => {
      if (shared !== this.#sharedAsked) return; // the range has changed meanwhile: everything is asked again
      for (const one of waiting) {
        const { asker, questions } = one;
        const answers = Object.entries(questions).map(([name, question]) => [name, found.get(JSON.stringify([shared, question]))] as const);
        if (answers.some(([, answer]) => answer === undefined)) continue;
        waiting.delete(one);
        if (this.#awaited.get(asker) === running) this.#give(asker, JSON.stringify([shared, questions]), Object.fromEntries(answers) as Answers);
      }
    };
    const running: Running = { abort: new AbortController(), askers };
    for (const asker of askers) this.#awaited.set(asker, running);
    for (const other of this.#running) {
      if (other.askers.some((asker) => this.#awaited.get(asker) === other)) continue;
      other.abort.abort(); // nobody waits for it any more
      this.#running.delete(other);
    }
    if (names.length > 0) {
      for (const { asker } of asked) asker.waiting();
      this.#running.add(running);
      this.#askedAt = Date.now();
      for (const asker of askers) this.#failed.delete(asker);
      if (this.#failed.size === 0) clearTimeout(this.#retry);
      try {
        if (problem) throw problem;
        const queries = Object.fromEntries(names.map((name, i) => [`q${i}`, keys.get(name) as Question]));
        await this.client.ask(shared, queries, (results) => {
          for (const [q, answer] of Object.entries(results)) {
            const name = names[Number(q.slice(1))] as string;
            found.set(name, answer);
            const question = keys.get(name) as Question;
            if (answer instanceof QueryError) {
              this.#tellError(answer, question);
              continue;
            }
            this.#tellUnknown(answer, question);
            if (this.#isClosed(shared, question, answer)) this.#keep(name, answer);
          }
          deliver();
        }, running.abort.signal);
        if (names.some((name) => !found.has(name))) throw new QueryError("offline", "the answer was cut off");
        const common = asked.length > 1 ? commonError(names.map((name) => found.get(name))) : undefined;
        if (common) this.#fail(common, askers);
      } catch (error) {
        if (running.abort.signal.aborted) return; // a newer request asks for all of them
        const failure = error instanceof QueryError ? error : new QueryError("http", String(error));
        for (const name of names) if (!found.has(name)) found.set(name, failure);
        this.#tellError(failure);
        failed = true;
        failure.isCommon = true;
        this.#fail(failure, [...waiting].map(({ asker }) => asker).filter((asker) => this.#awaited.get(asker) === running));
      } finally {
        this.#running.delete(running);
      }
    }
    deliver();
    if (shared !== this.#sharedAsked) return;
    if (![...found.values()].some((answer) => answer instanceof QueryError)) this.#logged.clear();
    this.#updateTrouble();
    if (this.#ready || failed || names.length === 0) return;
    this.#ready = true;
    // Once the elements have drawn them.
    setTimeout(() => this.#tell("nealytics-ready", { ...this.#rangeDetail, filters: this.#filters } satisfies ReadyDetail));
  }

  /** A refresh that fails leaves what is shown, unless the node says that the person may not see it. */
  #give(asker: Asker, asked: string, answers: Answers): void {
    const error = Object.values(answers).find((answer): answer is QueryError => answer instanceof QueryError);
    const shown = this.#shown.get(asker);
    if (error && shown?.asked === asked && asker.outdated && !error.isRefusal) {
      asker.outdated(error, shown.at);
      return;
    }
    if (error) this.#shown.delete(asker);
    else {
      this.#hasShown = true;
      this.#shown.set(asker, { asked, at: new Date() });
      this.#failed.delete(asker);
    }
    asker.receive(answers);
  }

  #fail(error: QueryError, askers: readonly Asker[]): void {
    for (const asker of askers) this.#failed.add(asker);
    this.#problem = error;
    const waitMs = error.isPassing ? Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** this.#failures++) : 0;
    this.#retryAfter(error.retryAfterS * 1000 || waitMs);
  }

  /** There is none once all that failed have an answer, or are gone. */
  #updateTrouble(): void {
    if (this.#failed.size === 0) {
      if (this.#running.size > 0) return; // it may be over, or not
      this.#failures = 0;
      this.#problem = undefined;
    }
    const times = [...this.#failed].flatMap((asker) => this.#shown.get(asker)?.at.getTime() ?? []);
    const since = times.length > 0 ? new Date(Math.min(...times)) : undefined;
    if (!this.#problem && !this.#trouble) return;
    this.#trouble = this.#problem && { error: this.#problem, since };
    this.dispatchEvent(new CustomEvent("change"));
  }

  /** Not all pages that were refused in the same second come back in the same one. */
  #retryAfter(ms: number): void {
    if (ms === 0 || ms > RETRY_MS_MAX) return; // then with the minute
    clearTimeout(this.#retry);
    this.#retry = setTimeout(this.#tick, ms * (1 + Math.random() / 4));
  }

  /** A session or user is shown whatever the range, so its answer grows. */
  #isClosed(shared: Shared, question: Question, answer: Answer): boolean {
    return shared.to < this.today && !answer["warnings"] && !("userId" in question || "sessionId" in question);
  }

  #keep(key: string, answer: Answer): void {
    this.#answers.set(key, answer);
    if (this.#answers.size > ANSWERS_KEPT) {
      this.#answers.delete(this.#answers.keys().next().value as string);
    }
  }
}

/** Of questions that failed all in the same way. */
function commonError(answers: readonly (Answer | QueryError | undefined)[]): QueryError | undefined {
  const errors = answers.filter((answer): answer is QueryError => answer instanceof QueryError);
  if (errors.length < answers.length || errors.some(({ code }) => code !== errors[0]?.code)) return undefined;
  for (const error of errors) error.isCommon = true;
  return errors[0];
}

function browserZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}
