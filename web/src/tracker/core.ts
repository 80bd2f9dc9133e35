/**
 * Sends events from a page, each counted once.
 *
 * Promises: an event gets its id, its time and its user when it happens, and is in the queue before it is sent. It leaves
 * the queue when the node has accepted or refused it, or when the queue is full. Until then it is sent again, by any tab:
 * the node counts it once however often it arrives, because its id and its time stay the same. With tokens, a queue is
 * that of one tenant and one user, and the node refuses to take it with the token of another. Nothing throws; the
 * console says what went wrong.
 *
 * The queue is localStorage, one entry for each event: tabs that write at the same time do not overwrite each other.
 * What cannot be stored is in memory, and is lost with the page.
 *
 * `/t.js` may have 2,048 bytes compressed, so this file says things once, and in few words.
 */

export type Automatic = "pages" | "outbound";

export interface TrackerOptions {
  /** Of the node, such as `https://analytics.example.com`; a path in front of `/api` belongs to it. */
  readonly url: string;
  /** A browser key. */
  readonly key?: string | undefined;
  /** In place of a key: gives an ingest token. It is called again after a request that failed. */
  readonly token?: (() => string | Promise<string>) | undefined;
  /** May be omitted if the key or the token has it. */
  readonly project?: string | undefined;
  /** May be omitted if the key has it. With a token it is needed. */
  readonly tenant?: string | undefined;
  /** The user until `identify` names one. Needed if tokens are bound to a user; `identify` must not name others then. */
  readonly user?: string | undefined;
  /** What is sent without a call; default `["pages"]`. */
  readonly auto?: string | readonly Automatic[] | undefined;
  /** `memory` stores nothing on the device: what is not sent when the page ends may be lost. Default `local`. */
  readonly storage?: "local" | "memory" | undefined;
  /** Send nothing for people whose browser asks for that (Do Not Track, Global Privacy Control). */
  readonly dnt?: boolean | undefined;
}

/** `itemId` becomes the item of the event; everything else its metadata. */
export type Properties = Readonly<Record<string, unknown>> & { readonly itemId?: string | undefined };

export interface Tracker {
  (eventType: string, properties?: Properties): void;
  /** From now on, events are this user's, in all tabs, until the session ends; with properties, a `$identify` is sent. */
  identify(user: string | null, properties?: Properties): void;
  /** Stops sending from this browser, and deletes the queue; `false` starts again. */
  optOut(out?: boolean): void;
}

/** This person has opted out. All entries of all trackers begin with `nealytics,`. */
const OFF = "nealytics,off";
const SESSION_MS = 30 * 60_000;
const EVENTS_MAX = 1_000;
/**
 * At most 48 KB: a character has up to 3 bytes. Browsers allow 64 KB for all requests that may outlive their page.
 * An event has at least 171 characters, so these are less than 100: a node gives the reasons of so many refusals.
 */
const BATCH_CHARS_MAX = 16_000;
/** Less than `ingest.item_id_chars_max` of a node. */
const ITEM_CHARS_MAX = 2_000;
const SEND_AFTER_MS = 1_000;
const TIMEOUT_MS = 30_000;
/** From 1 s to 4 minutes, then from 1 s again. */
const BACK_OFF_STEPS = 9;
/** A quota may ask for weeks, and may be raised before. */
const RETRY_AFTER_S_MAX = 3_600;
/** Longer than any pause that begins now. */
const PAUSE_MS_MAX = 9_000_000;

export function createTracker(options: TrackerOptions): Tracker {
  const { url, token, project, tenant = "", user = "", auto = "pages" } = options;
  /** With a token, the node compares whose the queue is with whose the token is. */
  const whose = token ? { tenant, user } : { k: options.key! };
  // Each queue is sent with its own key, or with the tokens of its own tenant and user. Its entries are `e` and an id,
  // `s` and `p`.
  const name = "nealytics," + JSON.stringify([url, project, tenant, whose]);
  /** What localStorage has no room for. */
  const memory: Record<string, string> = {};
  let store: Record<string, string> = {};
  let bearer = "";
  let batchChars = BATCH_CHARS_MAX;
  let timer = 0;
  let failures = 0;
  let isSending = false;
  let beaconed = "";
  let place = "";

  try {
    if (options.storage !== "memory") store = localStorage ?? store;
  } catch {} // blocked

  const read = (entry: string) => memory[entry] ?? store[entry] ?? "";
  const remove = (entry: string): void => {
    delete memory[entry];
    delete store[entry];
  };
  const write = (entry: string, value: unknown) => {
    remove(entry);
    try {
      store[entry] = value as string;
    } catch {
      memory[entry] = value + "";
    }
  };
  const entriesOf = (prefix: string) => [store, memory].flatMap(Object.keys).filter((entry) => entry.startsWith(prefix));
  // An attribute of the element without a value is "".
  const isOff = () => read(OFF) || ((options.dnt ?? "false") != "false" && (+navigator.doNotTrack! || (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl));
  /** The entries of the events to send, oldest first. */
  const queue = () => (isOff() ? [] : entriesOf(name + "e").sort());
  const safely =
    <Given extends unknown[]>(act: (...given: Given) => unknown) =>
    (...given: Given): void => {
      try {
        act(...given);
      } catch (error) {
        console.warn("nealytics", error);
      }
    };
  // All events that matter here reach the window, some of them only in this phase.
  const on = (events: string, then: (event: Event) => void) => events.split(" ").map((event) => addEventListener(event, safely(then), true));

  const inTime = <Result>(result: Result | Promise<Result>) => Promise.race([result, new Promise<never>((_, fail) => setTimeout(fail, TIMEOUT_MS))]);

  /** A UUIDv7. Until the year 2527, a time has 11 digits. */
  const newId = (now: number) =>
    `0${now.toString(16)}-7xxx-8xxx-xxxxxxxxxxxx`.replace(/x/g, () => ((Math.random() * 16) | 0).toString(16)).replace(/.{8}/, "$&-");

  /** The current session and user; a null user ends the session. */
  const session = (now: number, named?: string | null) => {
    let [id, last, ...rest] = named === null ? [] : read(name + "s").split("\n");
    if (!(now - +last! < SESSION_MS)) [id, rest] = [newId(now), []];
    const current = named ?? rest.join("\n");
    write(name + "s", [id, now, current].join("\n"));
    return { sessionId: id, userId: (current || user) + "" };
  };

  const track = safely((eventType: string, properties?: Properties): void => {
    if ((document as { prerendering?: boolean }).prerendering) on("prerenderingchange", () => track(eventType, properties));
    else if (!isOff()) {
      const now = Date.now();
      const eventId = newId(now);
      const { itemId, ...metadata } = { ...properties };
      const event = JSON.stringify({ eventId, timestamp: now, eventType, ...session(now), projectId: project, tenantId: tenant, itemId: itemId?.toString(), metadata });
      queue().slice(0, 1 - EVENTS_MAX).forEach(remove);
      write(name + "e" + eventId, event);
      timer ||= setTimeout(send, SEND_AFTER_MS);
    }
  });

  /** The oldest events of the queue. */
  const nextBatch = (chars = 0) => queue().filter((entry, index) => (chars += read(entry).length + 1) < batchChars || !index);
  /** An event on each line: a damaged one does not spoil the others. */
  const bodyOf = (entries: string[]) => entries.map(read).join("\n");
  const address = (route: string, more?: object) =>
    new URL(`api/v1/telemetry/${route}?` + new URLSearchParams({ ...whose, sentAt: Date.now(), ...more } as object as Record<string, string>), url) as unknown as string;

  /** Milliseconds left of the node's Retry-After; an implausibly long rest is ignored, because the clock was wrong. */
  const pause = (rest = +read(name + "p") - Date.now()) => rest > 0 && rest < PAUSE_MS_MAX && rest;

  /** Sends until the queue is empty or the node asks to wait. */
  const drain = async (): Promise<void> => {
    const entries = nextBatch();
    const body = bodyOf(entries);
    if (!body) return;
    let wait = pause();
    if (!wait) {
      let answer: Response | undefined;
      try {
        // Text needs no preflight, unless there is a token.
        answer = await inTime(fetch(address("batch"), {
          method: "POST",
          body,
          keepalive: body.length < BATCH_CHARS_MAX,
          headers: (token && { authorization: `Bearer ${bearer}` }) as HeadersInit,
        }));
        // Perhaps of a proxy. An event that is too large alone will always be.
        if (answer.status == 413) entries[1] ? (batchChars /= 2) : remove(entries[0]!);
        const said = await inTime(answer.text());
        if (!said.includes('"rejected":0,')) console.warn("nealytics", said);
        // Only the node says that, of events that it has read. What it refused it would refuse again, but for a quota.
        if (/"rejected":(?!.*"code":"quota_)/.test(said)) {
          entries.forEach(remove);
          failures = 0;
          return drain();
        }
      } catch {} // offline, or the page ends
      bearer = "";
      wait = Math.min(+answer?.headers.get("retry-after")! || 2 ** (failures++ % BACK_OFF_STEPS), RETRY_AFTER_S_MAX) * 1e3;
      if (answer) write(name + "p", Date.now() + wait);
    }
    timer = setTimeout(send, wait as number);
  };

  const send = async (): Promise<void> => {
    clearTimeout(timer);
    timer = 0;
    if (isSending || !nextBatch()[0]) return;
    isSending = true;
    try {
      // Before the lock, because it may take long. A page for signing in is no token.
      if (token && !bearer) [bearer] = /^ey\S+/.exec(await inTime(token()))!;
      // One tab at a time. Without locks, tabs may send the same events, which count once.
      await (navigator.locks?.request(name, drain).catch(drain) ?? drain());
    } catch {
      timer = setTimeout(send, TIMEOUT_MS);
    }
    isSending = false;
  };

  /** The page may end now, or nobody has seen it for long. What the beacon sends stays in the queue, because nobody learns whether it arrived. */
  const sendBeacon = () => {
    const body = bodyOf(nextBatch());
    if (body && body != beaconed && !pause()) navigator.sendBeacon(address("beacon", token && { token: bearer }), (beaconed = body));
  };

  const view = () => {
    const { pathname, hash, search, origin, host } = location;
    const itemId = (pathname + (/^#!?\/[^?]*|/.exec(hash) as unknown as string)).slice(0, ITEM_CHARS_MAX);
    if (itemId === place) return;
    const properties: Record<string, string | undefined> = { itemId, host, referrer: place ? origin + place : document.referrer.split("?")[0] || undefined };
    for (const [key, value] of new URLSearchParams(search)) if (key.startsWith("utm_")) properties[key] = value;
    place = itemId;
    track("page_view", properties);
  };

  const clicked = (event: Event) => {
    const path = event.composedPath() as HTMLAnchorElement[];
    const link = path.find(({ pathname, host }) => pathname && host && host !== location.host);
    if (link && auto.includes("outbound")) track("outbound_click", { itemId: link.origin + link.pathname });
    const data = path.find(({ dataset }) => dataset?.nealytics)?.dataset;
    if (data) {
      const properties: Record<string, string> = {};
      for (const key in data) key.replace(/^nealytics(.)/, (_, first) => (properties[first.toLowerCase() + key.slice(10)] = data[key]!));
      track(data.nealytics!, properties);
    }
  };

  if (auto.includes("pages")) {
    (["pushState", "replaceState"] as const).map((change) => {
      const original = history[change];
      history[change] = (...given) => {
        original.apply(history, given);
        view();
      };
    });
    on("popstate hashchange", view);
    on("pageshow", (event) => {
      // Back from the cache of whole pages: it is seen again.
      if ((event as PageTransitionEvent).persisted) {
        place = "";
        view();
      }
    });
    view();
  }
  on("click auxclick", clicked);
  on("pagehide visibilitychange", sendBeacon);
  send();

  return Object.assign(track, {
    identify(user: string | null, properties?: Properties) {
      if (!isOff()) session(Date.now(), user);
      if (properties) track("$identify", properties);
    },
    optOut(out = true) {
      entriesOf(out ? "nealytics," : OFF).forEach(remove);
      if (out) write(OFF, 1);
    },
  });
}
