/**
 * The elements as React components, for React 18 and 19, on servers too.
 *
 * React 18 knows neither properties nor events of custom elements. So what is text is an attribute, which both versions
 * write alike, also on a server; functions and objects are set, and events heard, by a ref.
 */

import {
  createContext, createElement, forwardRef, type ForwardRefExoticComponent, type HTMLAttributes, type ReactElement, type ReactNode,
  type RefAttributes, useContext, useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState,
} from "react";

import type { GetToken, Messages, NealyticsEvents } from "../embed.ts";
import "../embed.ts";
import { joined } from "./token.ts";

/** What holds for a whole page. Elements inside of a `NealyticsDashboard` have it from there. */
export interface PageProps {
  /** The address of the node. */
  src?: string | undefined;
  /** Gives a token for reading. Any function will do, also another one each time; for another person, give another `key`. */
  getToken?: GetToken | undefined;
  /** `today`, `yesterday`, `7d`, `30d`, `90d`, `this_month`, `last_month`, or `2026-06-01..2026-06-30`. */
  range?: string | undefined;
  compare?: "none" | "previous" | "year" | undefined;
  /** IANA time zone; default that of the browser. */
  tz?: string | undefined;
  /** Conditions such as `item_id:eq:/team`. */
  filters?: readonly string[] | undefined;
  lang?: string | undefined;
  theme?: "light" | "dark" | undefined;
  messages?: Messages | undefined;
  /** Errors also say their code, and what to do. */
  dev?: boolean | undefined;
}

export interface Handlers {
  onReady?: ((event: NealyticsEvents["nealytics-ready"]) => void) | undefined;
  onRangeChange?: ((event: NealyticsEvents["nealytics-range-change"]) => void) | undefined;
  onFilterChange?: ((event: NealyticsEvents["nealytics-filter-change"]) => void) | undefined;
  onMeasureChange?: ((event: NealyticsEvents["nealytics-measure-change"]) => void) | undefined;
  /** `event.preventDefault()` keeps the row from becoming a filter. */
  onSelect?: ((event: NealyticsEvents["nealytics-select"]) => void) | undefined;
  onError?: ((event: NealyticsEvents["nealytics-error"]) => void) | undefined;
}

type Tags = HTMLElementTagNameMap;
type Plain = Omit<HTMLAttributes<HTMLElement>, keyof PageProps | keyof Handlers>;
type Own<Tag extends keyof Tags, Names extends keyof Tags[Tag] = never> = { [Name in Names]?: Tags[Tag][Name] | undefined };
type Wrapped<Tag extends keyof Tags, Props> = ForwardRefExoticComponent<
  PageProps & Handlers & { heading?: string | undefined; children?: ReactNode } & Props & Plain & RefAttributes<Tags[Tag]>
>;

/** What a page shows. `from` and `to` are known once an element has said them. */
export interface PageState {
  readonly range?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly compare?: PageProps["compare"];
  readonly tz?: string | undefined;
  readonly filters?: readonly string[] | undefined;
  /** The first answers are shown. */
  readonly ready: boolean;
}

export interface Nealytics extends PageState {
  /** Changes what all elements show: `set({ range: "7d", filters: [] })`. */
  set(change: Partial<Pick<PageState, "range" | "compare" | "tz" | "filters">>): void;
}

interface Shared {
  readonly given: PageProps;
  readonly page: Nealytics;
  change(next: Partial<PageState>): void;
}

const Context = createContext<Shared | undefined>(undefined);
const HEARD = {
  "nealytics-ready": "onReady",
  "nealytics-range-change": "onRangeChange",
  "nealytics-filter-change": "onFilterChange",
  "nealytics-measure-change": "onMeasureChange",
  "nealytics-select": "onSelect",
  "nealytics-error": "onError",
} as const;
const ATTRIBUTES: Record<string, string> = {
  className: "class", groupBy: "group-by", syncUrl: "sync-url", cohortEvent: "cohort-event", returnEvent: "return-event",
};
/** A server has no layout, and React 18 says so each time. */
const useBeforePaint = typeof document === "undefined" ? useEffect : useLayoutEffect;

/** Shares a node, a token, a range and filters among all elements below it, wherever they stand. */
export function NealyticsProvider({ children, ...given }: PageProps & { children?: ReactNode }): ReactElement {
  const { range, compare, tz, filters } = given;
  const [state, setState] = useState<PageState>({ range, compare, tz, filters, ready: false });
  const page = useMemo<Nealytics>(() => {
    return { ...state, set: (next) => setState((now) => ({ ...now, ...next })) };
  }, [state]);
  const change = (next: Partial<PageState>): void =>
    setState((now) => (JSON.stringify({ ...now, ...next }) === JSON.stringify(now) ? now : { ...now, ...next }));
  const latest = useRef(given.getToken);
  useBeforePaint(() => {
    latest.current = given.getToken;
  });
  const [getToken] = useState(() => joined(() => (latest.current as GetToken)()));
  const shared = given.getToken ? { ...given, getToken } : given;
  return createElement(Context.Provider, { value: { given: shared, page, change } }, children);
}

/** The range and the filters of the `NealyticsProvider` around it, and a function that changes them. */
export function useNealytics(): Nealytics {
  const shared = useContext(Context);
  if (!shared) throw new Error("useNealytics: there is no <NealyticsProvider> around this component");
  return shared.page;
}

type AnyProps = PageProps & Handlers & Record<string, unknown>;
type Target = HTMLElement & Pick<PageProps, "getToken" | "messages" | "dev">;

function wrap<Tag extends keyof Tags, Props = Record<never, never>>(tag: Tag): Wrapped<Tag, Props> {
  const Component = forwardRef<HTMLElement, AnyProps>((written, ref) => {
    // `range={undefined}` means the provider's range, as if it were not there.
    const props: AnyProps = Object.fromEntries(Object.entries(written).filter(([, value]) => value !== undefined));
    const shared = useContext(Context);
    const { range, compare, tz, filters } = shared?.page ?? {};
    const all: AnyProps = { ...shared?.given, ...(shared && { range, compare, tz, filters }), ...props };
    const element = useRef<Target>(null);
    const latest = useRef({ all, props, shared });
    useImperativeHandle(ref, () => element.current as HTMLElement, []);
    useBeforePaint(() => {
      const target = element.current as Target;
      latest.current = { all, props, shared };
      target.dev = all.dev;
      target.messages = all.messages;
      // One function for good: a new one would count as another person's.
      if (all.getToken) target.getToken ??= () => (latest.current.all.getToken as GetToken)();
    });
    useBeforePaint(() => {
      const target = element.current as Target;
      const hear = (event: Event): void => {
        const { all, props, shared } = latest.current;
        const { type, detail } = event as CustomEvent<Record<string, never>>;
        (all[HEARD[type as keyof typeof HEARD]] as ((event: Event) => void) | undefined)?.(event);
        if (!shared || event.target !== target) return;
        // What an element has been given for itself is its own.
        if (detail["filters"] && !props.filters) shared.change({ filters: detail["filters"] });
        if (detail["from"] && !props.range && !props.compare && !props.tz) {
          const { from, to, preset, comparison, tz } = detail;
          shared.change({ range: preset ?? `${from}..${to}`, from, to, compare: comparison, tz });
        }
        if (type === "nealytics-ready") shared.change({ ready: true });
      };
      for (const name of Object.keys(HEARD)) target.addEventListener(name, hear);
      return () => {
        for (const name of Object.keys(HEARD)) target.removeEventListener(name, hear);
      };
    }, []);
    const attributes: Record<string, unknown> = { ref: element, filter: all.filters?.join("\n") };
    for (const [name, value] of Object.entries(all)) {
      if (["getToken", "messages", "dev", "filters", ...Object.values(HEARD)].includes(name) || value === false) continue;
      attributes[ATTRIBUTES[name] ?? name] = value === true && name in ATTRIBUTES ? "" : value;
    }
    return createElement(tag, attributes);
  });
  Component.displayName = tag;
  return Component as unknown as Wrapped<Tag, Props>;
}

export const NealyticsDashboard = wrap<"nealytics-dashboard", Own<"nealytics-dashboard", "funnel"> & { syncUrl?: boolean | string | undefined }>(
  "nealytics-dashboard",
);
export const NealyticsFigures = wrap<"nealytics-figures", Own<"nealytics-figures", "measure" | "currency">>("nealytics-figures");
export const NealyticsTimeseries = wrap<"nealytics-timeseries", Own<"nealytics-timeseries", "measure" | "currency" | "groupBy" | "kind">>("nealytics-timeseries");
export const NealyticsTop = wrap<"nealytics-top", Own<"nealytics-top", "dimension" | "limit" | "measure" | "currency">>("nealytics-top");
export const NealyticsTenants = wrap<"nealytics-tenants", Own<"nealytics-tenants", "limit">>("nealytics-tenants");
export const NealyticsProperties = wrap<"nealytics-properties", Own<"nealytics-properties", "limit">>("nealytics-properties");
export const NealyticsFunnel = wrap<"nealytics-funnel", Own<"nealytics-funnel", "steps" | "window" | "by" | "order" | "exclude" | "breakdown" | "measure" | "currency">>("nealytics-funnel");
export const NealyticsRetention = wrap<"nealytics-retention", Own<"nealytics-retention", "interval" | "cohortEvent" | "returnEvent">>(
  "nealytics-retention",
);
export const NealyticsSessions = wrap<"nealytics-sessions", Own<"nealytics-sessions", "order" | "limit">>("nealytics-sessions");
export const NealyticsPaths = wrap<"nealytics-paths", Own<"nealytics-paths", "event" | "direction" | "depth" | "by">>("nealytics-paths");
export const NealyticsActive = wrap<"nealytics-active", Own<"nealytics-active", "by">>("nealytics-active");
export const NealyticsTimeline = wrap<"nealytics-timeline", Own<"nealytics-timeline", "session" | "user" | "tenant" | "limit">>(
  "nealytics-timeline",
);
export const NealyticsLive = wrap("nealytics-live");
/** `params` is JSON: `'{"plan": "pro"}'`. */
export const NealyticsQuery = wrap<"nealytics-query", Own<"nealytics-query", "query"> & { params?: string | undefined }>("nealytics-query");
export const NealyticsHeatmap = wrap<"nealytics-heatmap", Own<"nealytics-heatmap", "measure">>("nealytics-heatmap");
