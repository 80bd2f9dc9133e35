/**
 * `/dead-letter#token=<admin token>`: the events that could not be stored, for the owner of the SaaS, with retry and drop.
 *
 * The token decides which projects it shows. It leaves the address at once; a reloaded page has it from the tab's history.
 * A reason at the top selects its events, and the name of a tenant those of the tenant; a second click ends that. Retry and drop
 * act on the events that are ticked or, if none is, on all that are selected, and their labels say on how many. Both ask
 * before they act on all, and drop always asks.
 */

interface Count {
  readonly events: number;
  readonly project?: string;
  readonly source: string;
  readonly reason: string;
}
interface Entry {
  readonly id: string;
  readonly at: string;
  readonly project?: string;
  readonly tenant?: string;
  readonly user?: string;
  readonly eventType?: string;
  readonly source: string;
  readonly reason: string;
  readonly message: string;
  readonly payload?: unknown;
  readonly isCut?: boolean;
}
interface Page {
  readonly events: number;
  readonly counts: readonly Count[];
  readonly entries: readonly Entry[];
  readonly next?: string;
}
interface Retried {
  readonly retried: number;
  readonly erased: number;
  readonly expired: number;
  readonly kept: readonly { readonly id: string; readonly message: string }[];
  readonly next?: string;
}
type Filter = { project?: string; tenant?: string; source?: string; reason?: string };

const ROUTE = "api/v1/admin/dead-letter";
/** Of those that a retry names, because each event may have another. */
const REASONS_MAX = 5;

const of = <T extends Element>(selector: string): T => document.querySelector(selector) as T;
const state = of<HTMLElement>(".state");
const counts = of<HTMLElement>(".counts");
const actions = of<HTMLElement>(".actions");
const set = of<HTMLInputElement>("[name=set]");
const table = of<HTMLTableElement>("table");
const rows = of<HTMLTableSectionElement>("tbody");
const every = of<HTMLInputElement>("thead input");
const more = of<HTMLButtonElement>("[name=more]");

const token = tokenOfAddress();
let filter: Filter = {};
let next = "";
let total = 0;

function tokenOfAddress(): string {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  const kept = (history.state ?? {}) as { nealyticsToken?: string };
  if (location.hash) history.replaceState(found ? { ...kept, nealyticsToken: found } : kept, "", location.pathname);
  return found ?? kept.nealyticsToken ?? "";
}

/** The answer; an error of the node with its message. */
async function ask<T>(path: string, body?: unknown): Promise<T> {
  const response = await fetch(ROUTE + path, {
    method: body === undefined ? "GET" : "POST",
    headers: { Authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? null : JSON.stringify(body),
    cache: "no-store",
  });
  const answer = (await response.json()) as T & { message?: string; detail?: string };
  if (!response.ok) throw new Error(`${answer.message ?? response.status}. ${answer.detail ?? ""}`);
  return answer;
}

function element(name: string, text = "", className = ""): HTMLElement {
  return Object.assign(document.createElement(name), { textContent: text, className });
}

/** With its role, which some browsers drop where CSS makes it a block, on a narrow page. */
function inTable(name: string, role: string, text = "", className = ""): HTMLElement {
  const made = element(name, text, className);
  made.setAttribute("role", role);
  return made;
}

function say(text: string, is: "ready" | "not-ready" | "" = ""): void {
  state.dataset["state"] = is;
  state.textContent = text;
}

const events = (count: number): string => `${count.toLocaleString("en")} event${count === 1 ? "" : "s"}`;

const isFiltered = (): boolean => Object.keys(filter).length > 0;

function select(chosen: Filter): void {
  filter = chosen;
  void load();
}

/** A filter that a click switches on and, where it shows a cross, off. */
function toggle(text: string, isOn: boolean, on: Filter, off: Filter): HTMLButtonElement {
  const button = element("button", text) as HTMLButtonElement;
  button.type = "button";
  button.setAttribute("aria-pressed", String(isOn));
  button.onclick = () => select(isOn ? off : on);
  if (isOn) {
    button.append(" ✕");
    button.title = "Show the others too";
  }
  return button;
}

function showCounts(all: readonly Count[]): void {
  const { tenant, reason: chosen } = filter;
  const chips = all.map(({ events, project = "", source, reason }) => {
    const text = `${reason} · ${source} · ${project || "no project"} · ${events.toLocaleString("en")}`;
    const chip = toggle(text, chosen !== undefined, { ...filter, project, source, reason }, tenant ? { project, tenant } : {});
    chip.disabled = !project; // no filter of the route selects an unknown project
    return chip;
  });
  const { tenant: _, ...others } = filter;
  const whose = tenant ? [toggle(`tenant ${tenant}`, true, filter, chosen ? others : {})] : [];
  counts.replaceChildren(...chips, ...whose);
}

function row(entry: Entry): HTMLElement {
  const line = inTable("tr", "row");
  const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: entry.id });
  tick.setAttribute("aria-label", `Select event ${entry.id}`);
  const first = inTable("td", "cell");
  first.append(tick);
  const event = inTable("td", "cell", "", "payload");
  const details = element("details");
  const payload = typeof entry.payload === "string" ? entry.payload : JSON.stringify(entry.payload ?? null, null, 1);
  details.append(element("summary", entry.message), element("pre", payload + (entry.isCut ? " …" : "")));
  event.append(details);
  const time = entry.at.replace("T", " ").replace(/(\.\d+)?Z$/, "");
  const user = cell("User", entry.user);
  line.append(first, cell("Time", time), cell("Project", entry.project), tenantOf(entry), cell("Event type", entry.eventType), user, cell("Source", entry.source), cell("Reason", entry.reason), event);
  return line;
}

/** `name` is the heading of its column, which a narrow page shows beside the value. */
function cell(name: string, text = ""): HTMLElement {
  const made = inTable("td", "cell", text);
  made.dataset["name"] = name;
  return made;
}

/** A button that selects the events of the tenant. */
function tenantOf({ project, tenant }: Entry): HTMLElement {
  const made = cell("Tenant");
  if (project && tenant) {
    made.append(filter.tenant ? tenant : toggle(tenant, false, { ...filter, project, tenant }, filter));
  }
  return made;
}

async function load(cursor = ""): Promise<void> {
  try {
    const page = await ask<Page>(`?${new URLSearchParams({ ...filter, ...(cursor ? { cursor } : {}) })}`);
    if (!page.events && isFiltered()) {
      filter = {};
      return await load();
    }
    showCounts(page.counts);
    if (!cursor) rows.replaceChildren();
    rows.append(...page.entries.map(row));
    next = page.next ?? "";
    total = page.events;
    more.hidden = !next;
    table.hidden = actions.hidden = !page.events;
    every.checked = false;
    label();
    say(page.events ? events(page.events) : "The dead letter is empty.", page.events ? "not-ready" : "ready");
  } catch (error) {
    table.hidden = actions.hidden = true;
    say(token ? (error as Error).message : "This link is not complete. Make one with: nealytics dashboard --dead-letter --project PROJECT", "not-ready");
  }
}

const ticked = (): string[] => [...rows.querySelectorAll<HTMLInputElement>("input:checked")].map(({ value }) => value);

/** What the buttons are about: the ticked events, else those that the filter selects. */
function selected(): { ids: string[] } | { filter: Filter } {
  const ids = ticked();
  return ids.length ? { ids } : { filter };
}

/** The buttons say on how many events they act. */
function label(): void {
  const count = ticked().length;
  const which = count ? `${count} selected` : total === 1 ? events(1) : `all ${total.toLocaleString("en")}`;
  retry.textContent = `Retry ${which}`;
  drop.textContent = `Drop ${which}`;
}

/** What a question before an action calls its events. */
function described(): string {
  const count = ticked().length;
  return count ? events(count) : `${total === 1 ? "" : "all "}${events(total)}`;
}

async function act(button: HTMLButtonElement, run: () => Promise<string>): Promise<void> {
  button.disabled = true;
  let result = "";
  try {
    result = await run();
  } catch (error) {
    result = (error as Error).message;
  }
  button.disabled = false;
  await load();
  say(`${result} ${state.textContent ?? ""}`, state.dataset["state"] as "ready");
}

function changes(): Record<string, string> {
  const [field = "", ...value] = set.value.split("=");
  return field.trim() ? { [field.trim()]: value.join("=").trim() } : {};
}

const retry = of<HTMLButtonElement>("[name=retry]");
retry.onclick = () => {
  const chosen = { ...selected(), set: changes() };
  const change = Object.entries(chosen.set).map(([field, value]) => `, each with ${field} = ${value}`)[0] ?? "";
  if ("filter" in chosen && !confirm(`Retry ${described()}${change}?`)) return;
  void act(retry, async () => {
    let [stored, deleted, cursor]: [number, number, string | undefined] = [0, 0, ""];
    const refused = new Map<string, number>();
    // A request retries the oldest; the next one goes on behind those that it left.
    while (cursor !== undefined) {
      const done: Retried = await ask<Retried>("/retry", { ...chosen, cursor });
      stored += done.retried;
      deleted += done.erased + done.expired;
      for (const { message } of done.kept) refused.set(message, (refused.get(message) ?? 0) + 1);
      cursor = done.next;
      if (cursor) say(`${stored} stored so far…`);
    }
    const gone = deleted ? `, ${deleted} deleted by an erasure or retention` : "";
    return `${stored} stored${gone}${refusals(refused)}.`;
  });
};

/** The most frequent reasons, each with its number of events. */
function refusals(found: ReadonlyMap<string, number>): string {
  const sorted = [...found].sort(([, a], [, b]) => b - a);
  const shown = sorted.slice(0, REASONS_MAX).map(([message, count]) => `, ${count} refused again: ${message}`);
  const rest = sorted.slice(REASONS_MAX).reduce((sum, [, count]) => sum + count, 0);
  return shown.join("") + (rest ? `, ${rest} for other reasons` : "");
}

const drop = of<HTMLButtonElement>("[name=drop]");
drop.onclick = () => {
  const chosen = selected();
  if (!confirm(`Delete ${described()} for good?`)) return;
  void act(drop, async () => `${(await ask<{ dropped: number }>("/drop", chosen)).dropped} deleted.`);
};
every.onchange = () => {
  rows.querySelectorAll<HTMLInputElement>("input").forEach((tick) => (tick.checked = every.checked));
  label();
};
rows.onchange = label;
more.onclick = () => void load(next);

void load();

export {};
