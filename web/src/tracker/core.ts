/**
 * Sends events from a page, each counted exactly once.
 *
 * Promises: an event gets its id and its time when it happens, and is in the queue before it is sent. It leaves the
 * queue when the node has answered, or when the queue is full. It is sent until then, in as many requests and by as
 * many tabs as it takes: the node counts an event once however often it arrives, because its id and its time stay the
 * same. Nothing throws, except for properties that JSON cannot write.
 *
 * The queue is localStorage, one entry for each event: tabs that write at the same time do not overwrite each other.
 * What cannot be stored is in memory, and ends with the page.
 *
 * `/t.js` may have 2,048 bytes compressed, so this file says things once, and in few words.
 */

export type Automatic = "pages" | "outbound";

export interface TrackerOptions {
  /** Of the node, such as `https://analytics.example.com`; a path in front of `/api` belongs to it. */
  readonly url: string;
  /** A browser key. */
  readonly key?: string | undefined;
  /** In place of a key: a token for writing, or a function that gives one. It is called again after a 401. */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /** May be omitted if the key or the token has it. */
  readonly project?: string | undefined;
  /** May be omitted if the key has it. With a token, give it: it keeps the queues of two tenants apart. */
  readonly tenant?: string | undefined;
  /** The user until `identify` names one. */
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
  /** Stops sending from this browser, and deletes the queue; `false` begins again. */
  optOut(out?: boolean): void;
}

/** In localStorage, for all trackers: this person has opted out. */
const OFF = "nealytics,off";
const SESSION_MS = 30 * 60_000;
const EVENTS_MAX = 1_000;
/** At most 50 KB: a character has up to 3 bytes. Browsers allow 64 KB for all requests that may outlive their page. */
const BATCH_CHARS_MAX = 16_600;
/** Less than `ingest.item_id_chars_max` of a node. */
const ITEM_CHARS_MAX = 2_000;
const SEND_AFTER_MS = 1_000;
const TIMEOUT_MS = 30_000;
/** From 1 s to 4 minutes. */
const BACK_OFF_DOUBLINGS_MAX = 8;
/** A quota may ask for weeks, and may be raised before. */
const RETRY_AFTER_S_MAX = 3_600;
/** Longer than any pause that begins now. */
const PAUSE_MS_MAX = 7_200_000;

export function createTracker(options: TrackerOptions): Tracker {
  const { url, key, token, project, tenant, auto = "pages" } = options;
  // Each tracker sends its own events, with its own key. Its entries are `e` and an id, `s`, `d` and `p`.
  const name = `nealytics,${[url, key, project, tenant]},`;
  let store: Record<string, string> = {};
  let bearer = "";
  let timer = 0;
  let failures = 0;
  let isSending = false;
  let beaconed = "";
  let place = "";

  try {
    if (options.storage !== "memory") store = localStorage;
  } catch {} // blocked

  const read = (entry: string) => store[entry] ?? "";
  const write = (entry: string, value: unknown) => {
    try {
      store[entry] = value as string;
    } catch {
      // It is full. From now on, this page has its own copy.
      (store = { ...store })[entry] = `${value}`;
    }
  };
  const remove = (entry: string) => delete store[entry];
  const isOff = () => read(OFF) || (options.dnt != null && (+navigator.doNotTrack! || (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl));
  /** The entries of the events to send, oldest first. */
  const queue = () => (isOff() ? [] : Object.keys(store).filter((entry) => entry.startsWith(name + "e")).sort());
  // All events that matter here reach the window, some of them only in this phase.
  const on = (events: string, then: (event: Event) => void) => events.split(" ").map((event) => addEventListener(event, then, true));

  /** A UUIDv7. Until the year 2527, a time has 11 digits. */
  const newId = (now: number) =>
    `0${now.toString(16)}-7xxx-8xxx-xxxxxxxxxxxx`.replace(/x/g, () => (crypto.getRandomValues(new Uint8Array(1))[0]! & 15).toString(16)).replace(/.{8}/, "$&-");

  /** Who does something now. A user that is null ends the session. */
  const session = (now: number, named?: string | null) => {
    let [id, last, user] = read(name + "s").split("\n");
    if (named === null || !(Math.abs(now - +last!) < SESSION_MS)) [id, user] = [newId(now), ""];
    user = named ?? user;
    write(name + "s", [id, now, user].join("\n"));
    return { sessionId: id, userId: user || options.user };
  };

  const track = (eventType: string, properties: Properties = {}): void => {
    if ((document as { prerendering?: boolean }).prerendering) on("prerenderingchange", () => track(eventType, properties));
    else if (!isOff()) {
      const now = Date.now();
      const eventId = newId(now);
      const { itemId, ...metadata } = properties;
      for (const oldest of queue().slice(0, 1 - EVENTS_MAX)) {
        remove(oldest);
        write(name + "d", +read(name + "d") + 1);
      }
      write(name + "e" + eventId, JSON.stringify({ eventId, timestamp: now, eventType, ...session(now), projectId: project, tenantId: tenant, itemId, metadata }));
      timer ||= setTimeout(send, SEND_AFTER_MS);
    }
  };

  /** The oldest events of the queue, one on each line: a damaged one does not spoil the others. */
  const nextBatch = () => {
    let size = 0;
    const entries = queue().filter((entry, index) => (size += read(entry).length + 1) < BATCH_CHARS_MAX || !index);
    return { entries, body: entries.map(read).join("\n") };
  };
  const address = (route: string, more = "") =>
    new URL(`api/v1/telemetry/${route}?${key ? "k=" + key : more}&sentAt=${Date.now()}&dropped=${read(name + "d")}`, url) as unknown as string;

  /** How long the node wants no requests, in ms. A time too far away is that of a clock that was wrong. */
  const pause = () => {
    const rest = +read(name + "p") - Date.now();
    return (rest < PAUSE_MS_MAX && rest) as number;
  };

  /** Sends until the queue is empty, or until the node has to be asked later. */
  const drain = async (): Promise<void> => {
    for (;;) {
      const { entries, body } = nextBatch();
      if (!body) return;
      let wait = pause();
      if (wait <= 0) {
        const dropped = read(name + "d");
        let answer: Response | undefined;
        let said = "";
        try {
          const headers: HeadersInit = token ? { authorization: `Bearer ${(bearer ||= await ((token as () => string).call ? (token as () => string)() : (token as string)))}` } : {};
          // Text needs no preflight.
          answer = await fetch(address("batch"), { method: "POST", body, keepalive: body.length < BATCH_CHARS_MAX, headers, signal: AbortSignal.timeout?.(TIMEOUT_MS) });
          said = await answer.text();
          if (!said.includes('"rejected":0,')) console.warn("nealytics", said);
        } catch {} // offline, or the page ends
        const status = answer?.status;
        // Refused events would be refused again, except for these reasons. A quota may refuse only the last ones.
        if (/^(202|4(?!01|08|29)..)$/.test(status as never) && !said.includes("quota_")) {
          entries.forEach(remove);
          failures = 0;
          write(name + "d", +read(name + "d") - +dropped);
          continue;
        }
        bearer = "";
        wait = Math.min(+answer?.headers.get("retry-after")! || 2 ** Math.min(failures++, BACK_OFF_DOUBLINGS_MAX), RETRY_AFTER_S_MAX) * (1e3 + Math.random() * 300);
        if (status) write(name + "p", Date.now() + wait);
      }
      timer = setTimeout(send, wait);
      return;
    }
  };

  const send = async (): Promise<void> => {
    clearTimeout(timer);
    timer = 0;
    if (isSending) return;
    isSending = true;
    try {
      // One tab at a time. Without locks, tabs may send the same events, which count once.
      await navigator.locks.request(name, drain);
    } catch {
      await drain();
    }
    isSending = false;
  };

  /** The page may end now. What the beacon sends stays in the queue, because nobody learns whether it arrived. */
  const sendBeacon = () => {
    const { body } = nextBatch();
    if (body && body !== beaconed && pause() <= 0) navigator.sendBeacon(address("beacon", `token=${bearer}`), (beaconed = body));
  };

  const view = () => {
    const { pathname, hash, search, origin, host } = location;
    const itemId = (pathname + (/^#!?\/[^?]*/.exec(hash) ?? "")).slice(0, ITEM_CHARS_MAX);
    if (itemId === place) return;
    const properties: Record<string, string | undefined> = { itemId, host, referrer: place ? origin + place : document.referrer.split("?")[0] || undefined };
    for (const [key, value] of new URLSearchParams(search)) if (key.startsWith("utm_")) properties[key] = value;
    place = itemId;
    track("page_view", properties);
  };

  const clicked = (event: Event) => {
    const path = event.composedPath() as HTMLAnchorElement[];
    const link = path.find(({ pathname }) => pathname);
    if (auto.includes("outbound") && link?.host && link.host !== location.host) track("outbound_click", { itemId: link.origin + link.pathname });
    const data = path.find(({ dataset }) => dataset?.nealytics)?.dataset;
    if (data) {
      const properties: Record<string, string> = {};
      for (const key in data) key.replace(/^nealytics(.)/, (_, first) => (properties[first.toLowerCase() + key.slice(10)] = data[key]!));
      track(data.nealytics!, properties);
    }
  };

  if (auto.includes("pages")) {
    for (const change of ["pushState", "replaceState"] as const) {
      const original = history[change];
      history[change] = (...given) => {
        original.apply(history, given);
        view();
      };
    }
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
  on("pagehide", sendBeacon);
  on("visibilitychange", () => (document.hidden ? sendBeacon() : send()));
  on("online", send);
  send();

  return Object.assign(track, {
    identify(user: string | null, properties?: Properties) {
      if (!isOff()) session(Date.now(), user);
      if (properties) track("$identify", properties);
    },
    optOut(out = true) {
      queue().forEach(remove);
      write(OFF, out || "");
    },
  });
}
