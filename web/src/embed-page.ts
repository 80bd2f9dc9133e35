/**
 * `/embed`: the dashboard as a page of its own, for an iframe or a link.
 *
 *     /embed?theme=dark&tz=Europe/Berlin&lang=de&range=7d&funnel=signup,paid#token=<JWT>
 *     /embed?layout=figures,timeseries:event_type,top:meta:plan,funnel&funnel=signup,paid#token=<JWT>
 *
 * `layout` names the elements to show, in their order; behind a colon is what `top` and `timeseries` are by, and the
 * event of `paths`.
 *
 * The token leaves the address at once, so that nobody passes it on with the address. The entry of the tab's history
 * keeps it, so that a reloaded page has it. In a frame the page tells the parent its height, and
 * that it needs a token; the parent answers with a token. Messages are taken from the parent only, and the node
 * decides by `web.frame_ancestors` who may be that.
 *
 *     to the parent     {nealytics: "height", px}   {nealytics: "token-needed"}
 *     from the parent   {nealytics: "token", token}   {nealytics: "theme", theme}
 */

import type { NealyticsDashboard } from "./embed.ts";

const PARAMETERS = ["theme", "tz", "range", "compare", "filter", "funnel"] as const;
/** Parameters that set the custom property of their name, and the CSS property that decides whether a value is valid. */
const LOOK = { accent: "color", "accent-contrast": "color", radius: "border-radius", font: "font-family" };
const TOKEN_WAIT_MS = 10_000;
/** What `layout` may name, and the attribute that stands behind a colon. */
const ELEMENTS: Readonly<Record<string, string | undefined>> = {
  figures: "", timeseries: "group-by", top: "dimension", properties: "", funnel: "", retention: "", sessions: "",
  tenants: "", paths: "event", active: "", timeline: "", live: "", heatmap: "",
};

/** The words of the page itself: a link that has expired, one without a token, and what to do about either. */
const WORDS: Readonly<Record<string, readonly [expired: string, incomplete: string, hint: string]>> = {
  en: ["This link has expired", "This link is not complete", "Ask the person who sent it for a new one."],
  de: ["Dieser Link ist abgelaufen", "Dieser Link ist nicht vollständig", "Bitte die Person, von der du ihn hast, um einen neuen."],
  fr: ["Ce lien a expiré", "Ce lien est incomplet", "Demandez-en un nouveau à la personne qui vous l’a envoyé."],
  es: ["Este enlace ha caducado", "Este enlace está incompleto", "Pide uno nuevo a quien te lo envió."],
  pt: ["Este link expirou", "Este link está incompleto", "Peça um novo a quem o enviou."],
  ja: ["このリンクの有効期限が切れました", "このリンクは不完全です", "リンクの送信者に新しいものを依頼してください。"],
  ar: ["انتهت صلاحية هذا الرابط", "هذا الرابط غير مكتمل", "اطلب رابطًا جديدًا ممن أرسله إليك."],
};

const framed = window.parent !== window;
const parameters = new URLSearchParams(location.search);
let token = tokenOfAddress();
if (framed) document.documentElement.dataset["framed"] = "";

/** Takes the token out of the address. A frame asks its parent for another after it was reloaded. */
function tokenOfAddress(): string {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  const kept = framed ? {} : ((history.state ?? {}) as { nealyticsToken?: string });
  if (location.hash) {
    const state = found && !framed ? { ...kept, nealyticsToken: found } : history.state;
    history.replaceState(state, "", location.pathname + location.search);
  }
  return found ?? kept.nealyticsToken ?? "";
}

let dashboard: NealyticsDashboard | undefined;
let deliver: ((token: string) => void) | undefined;

function getToken(): Promise<string> {
  const given = token;
  token = ""; // the first is used once; whoever wants another has refused it
  if (given) return Promise.resolve(given);
  if (!framed) {
    // What has been shown stays, and says of when it is.
    if (!shown.page.client.owner) explain(expired);
    return Promise.reject(Object.assign(new Error("the link's token has expired; open a new link"), { status: 410 }));
  }
  return new Promise((resolve, reject) => {
    deliver = resolve;
    setTimeout(() => {
      if (deliver === resolve) deliver = undefined; // one that comes later is for the next question
      reject(new Error("the page around this one gave no token"));
    }, TOKEN_WAIT_MS);
    tell({ nealytics: "token-needed" });
  });
}

function tell(message: object): void {
  // Says nothing of the tenant, so any parent may hear it.
  if (framed) window.parent.postMessage(message, "*");
}

window.addEventListener("message", (event: MessageEvent<{ nealytics?: unknown; token?: unknown; theme?: unknown } | null>) => {
  if (!framed || event.source !== window.parent || typeof event.data !== "object" || event.data === null) return;
  const { nealytics, token: given, theme } = event.data;
  if (nealytics === "theme" && typeof theme === "string") document.documentElement.dataset["theme"] = theme;
  if (nealytics === "token" && typeof given === "string") {
    if (deliver) deliver(given);
    else {
      token = given;
      dashboard?.page.renew();
    }
    deliver = undefined;
  }
});

// Only now, so that neither the token in the address nor a message waits for this script to arrive.
await import("./embed.ts");

// Another link, opened in the same tab.
window.addEventListener("hashchange", () => {
  if (!new URLSearchParams(location.hash.slice(1)).has("token")) return;
  token = tokenOfAddress();
  if (framed) shown.page.renew();
  else location.reload();
});

document.documentElement.lang = parameters.get("lang") ?? navigator.language;
const [expired, incomplete, hint] = WORDS[document.documentElement.lang.split("-")[0] ?? ""] ?? (WORDS["en"] as (typeof WORDS)[string]);
const shown = (dashboard = document.createElement("nealytics-dashboard") as NealyticsDashboard);
for (const name of PARAMETERS) {
  const value = parameters.get(name);
  if (value === null) continue;
  if (name === "theme") document.documentElement.dataset["theme"] = value;
  else if (name === "filter") shown.filter = parameters.getAll("filter").join("\n");
  else shown.setAttribute(name, value);
}
for (const [name, property] of Object.entries(LOOK)) {
  const value = parameters.get(name);
  if (value === null) continue;
  if (CSS.supports(property, value)) document.documentElement.style.setProperty(`--nealytics-${name}`, value);
  else console.error(`nealytics: ${name}=${value} is not valid CSS for ${property}; write %23 for # in an address`);
}
for (const part of (parameters.get("layout") ?? "").split(",").filter(Boolean)) {
  const [, name = "", value] = /^([^:]*)(?::(.*))?$/s.exec(part.trim()) ?? [];
  const attribute = Object.hasOwn(ELEMENTS, name) ? ELEMENTS[name] : undefined;
  if (attribute === undefined) {
    console.error(`nealytics: layout has "${name}"; write some of ${Object.keys(ELEMENTS).join(", ")}, separated by commas`);
    continue;
  }
  const element = document.createElement(`nealytics-${name}`);
  if (attribute && value) element.setAttribute(attribute, value);
  if (name === "funnel") element.setAttribute("steps", parameters.get("funnel") ?? "");
  shown.append(element);
}
const RTL = ["ar", "fa", "he", "ur"];
if (RTL.includes(document.documentElement.lang.split("-")[0] ?? "")) document.documentElement.dir = "rtl";

const main = document.querySelector("main") as HTMLElement;
if (token || framed) start();
else {
  explain(incomplete);
  console.info("nealytics: the address has no #token=…; this command prints a complete link: nealytics dashboard --project ID --tenant ID");
}

function start(): void {
  shown.getToken = getToken;
  if (!framed) shown.messages = { expired, expired_hint: hint };
  main.replaceChildren(shown);
  for (const event of ["nealytics-ready", "nealytics-filter-change"] as const) shown.addEventListener(event, nameOwner);
  new ResizeObserver(() => tell({ nealytics: "height", px: Math.ceil(main.getBoundingClientRect().height) })).observe(main);
}

/** Whose page it is, in the title and, outside of a frame, above the page. */
function nameOwner(): void {
  const { client, filters } = shown.page;
  if (!client.owner) return;
  const picked = filters.find((filter) => filter.startsWith("tenant_id:eq:"))?.slice("tenant_id:eq:".length);
  const names = [client.owner.tenantId ?? picked, client.owner.projectId].filter((name) => name !== undefined);
  document.title = names.join(" · ");
  if (framed) return;
  const [heading, project] = [document.createElement("h1"), document.createElement("p")];
  heading.textContent = names[0] ?? "";
  project.textContent = names[1] ?? "";
  const header = main.querySelector("header") ?? document.createElement("header");
  header.replaceChildren(heading, project);
  main.prepend(header);
}

function explain(problem: string): void {
  const note = document.createElement("div");
  note.className = "note";
  const [title, text] = [document.createElement("h1"), document.createElement("p")];
  title.textContent = problem;
  text.textContent = hint;
  note.append(title, text);
  main.replaceChildren(note);
}
