/**
 * `/dead-letter#token=<admin token>`: the events that could not be stored, for the owner of the SaaS, with retry and drop.
 *
 * The token decides which projects it shows. It leaves the address at once; a reloaded page has it from the tab's history.
 * A reason at the top selects its events, and the name of a tenant those of the tenant. Retry and drop act on the events that are ticked or, if none is, on all that are
 * selected; drop asks before.
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

function say(text: string, is: "ready" | "not-ready" | "" = ""): void {
  state.dataset["state"] = is;
  state.textContent = text;
}

const events = (count: number): string => `${count.toLocaleString("en")} event${count === 1 ? "" : "s"}`;

const isFiltered = (): boolean => Object.keys(filter).length > 0;

function showCounts(all: readonly Count[]): void {
  counts.replaceChildren(
    ...all.map(({ events, project = "", source, reason }) => {
      const button = element("button", `${reason} · ${source} · ${project || "no project"} `) as HTMLButtonElement;
      button.type = "button";
      button.append(element("b", events.toLocaleString("en")));
      button.setAttribute("aria-pressed", String(isFiltered()));
      button.disabled = !project; // no filter of the route selects an unknown project
      button.onclick = () => {
        filter = isFiltered() ? {} : { project, source, reason };
        void load();
      };
      return button;
    }),
  );
}

function row(entry: Entry): HTMLElement {
  const line = element("tr");
  const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: entry.id });
  tick.setAttribute("aria-label", `Select event ${entry.id}`);
  const first = element("td");
  first.append(tick);
  const event = element("td");
  const details = element("details");
  const payload = typeof entry.payload === "string" ? entry.payload : JSON.stringify(entry.payload ?? null, null, 1);
  details.append(element("summary", entry.message), element("pre", payload + (entry.isCut ? " …" : "")));
  event.append(details);
  const time = element("td", entry.at.replace("T", " ").replace(/(\.\d+)?Z$/, ""));
  const [project, source, reason] = [entry.project ?? "", entry.source, entry.reason].map((text) => element("td", text));
  line.append(first, time, project!, tenantOf(entry), source!, reason!, event);
  return line;
}

/** A button that selects the events of the tenant or, once they are, all of them. */
function tenantOf({ project, tenant }: Entry): HTMLElement {
  const cell = element("td");
  if (project && tenant) {
    const button = element("button", tenant) as HTMLButtonElement;
    button.type = "button";
    button.setAttribute("aria-pressed", String(filter.tenant === tenant));
    button.onclick = () => {
      filter = filter.tenant === tenant ? {} : { ...filter, project, tenant };
      void load();
    };
    cell.append(button);
  }
  return cell;
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
    more.hidden = !next;
    table.hidden = actions.hidden = !page.events;
    every.checked = false;
    say(page.events ? events(page.events) : "The dead letter is empty.", page.events ? "not-ready" : "ready");
  } catch (error) {
    table.hidden = actions.hidden = true;
    say(token ? (error as Error).message : "This link is not complete. Make one with: nealytics dashboard --dead-letter", "not-ready");
  }
}

/** What the buttons are about: the ticked events, else those that the filter selects. */
function selected(): { ids: string[] } | { filter: Filter } {
  const ids = [...rows.querySelectorAll<HTMLInputElement>("input:checked")].map(({ value }) => value);
  return ids.length ? { ids } : { filter };
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
retry.onclick = () =>
  void act(retry, async () => {
    const chosen = { ...selected(), set: changes() };
    let [stored, deleted, refused, why, cursor]: [number, number, number, string, string | undefined] = [0, 0, 0, "", ""];
    // A request retries the oldest; the next one goes on behind those that it left.
    while (cursor !== undefined) {
      const done: Retried = await ask<Retried>("/retry", { ...chosen, cursor });
      stored += done.retried;
      deleted += done.erased + done.expired;
      refused += done.kept.length;
      why ||= done.kept[0]?.message ?? "";
      cursor = done.next;
      if (cursor) say(`${stored} stored so far…`);
    }
    const gone = deleted ? `, ${deleted} deleted by an erasure or retention` : "";
    return `${stored} stored${gone}${refused ? `, ${refused} refused again: ${why}` : ""}.`;
  });
const drop = of<HTMLButtonElement>("[name=drop]");
drop.onclick = () => {
  const chosen = selected();
  const which = "ids" in chosen ? events(chosen.ids.length) : isFiltered() ? "all events that are selected" : "all events";
  if (!confirm(`Delete ${which} for good?`)) return;
  void act(drop, async () => `${(await ask<{ dropped: number }>("/drop", chosen)).dropped} deleted.`);
};
every.onchange = () => rows.querySelectorAll<HTMLInputElement>("input").forEach((tick) => (tick.checked = every.checked));
more.onclick = () => void load(next);

void load();

export {};
