// Compiled, not run (tests/browser/test_build.py): what the package's users write, in a strict project.
import { createRef } from "react";

import { NealyticsClient, NealyticsError, type Results } from "nealytics/client";
import { NealyticsTop as TopElement, type SelectDetail } from "nealytics/embed";
import { createTracker, type Tracker } from "nealytics/tracker";
import {
  NealyticsActive, NealyticsDashboard, NealyticsFigures, NealyticsFunnel, NealyticsHeatmap, NealyticsLive, NealyticsPaths, NealyticsProperties,
  NealyticsProvider, NealyticsRetention, NealyticsSessions, NealyticsTimeline, NealyticsTimeseries, NealyticsTop, useNealytics,
} from "nealytics/react";

const dashboard = document.createElement("nealytics-dashboard");
dashboard.getToken = async () => "a.b.c";
dashboard.messages = { events: "Things" };
dashboard.funnel = "signup,paid";
dashboard.addEventListener("nealytics-range-change", (event) => event.detail.comparison.toUpperCase());
dashboard.addEventListener("nealytics-ready", ({ detail }) => detail.filters.length + detail.from.length);
dashboard.addEventListener("nealytics-error", ({ detail }) => `${detail.code} ${detail.status}`);
document.querySelector("nealytics-top")?.addEventListener("nealytics-select", ({ detail }: CustomEvent<SelectDetail>) => detail.tenantId ?? detail.key);
// @ts-expect-error: there is no such event
dashboard.addEventListener("nealytics-ready", ({ detail }) => detail.nonsense);
const top: TopElement | null = document.querySelector("nealytics-top");
if (top) top.limit = 5;

const ref = createRef<TopElement>();
export const page = (
  <NealyticsProvider src="https://analytics.example.com" getToken={async () => "a.b.c"} range="7d" messages={{ events: "Things" }}>
    <NealyticsDashboard className="mine" style={{ color: "red" }} onReady={(event) => event.detail.tz} syncUrl funnel="a,b" theme="dark" dev>
      <NealyticsFigures heading="All" aria-label="all" />
      <NealyticsTimeseries measure="users" groupBy="item_id" kind="bars" />
      <NealyticsTop ref={ref} dimension="item_id" limit={5} onSelect={(event) => event.preventDefault()} />
      <NealyticsProperties limit={3} />
      <NealyticsFunnel steps="a,b" window="7d" by="session" order="strict" exclude="c" breakdown="meta:plan" measure="users" currency="EUR" />
      {/* @ts-expect-error: no such order */}
      <NealyticsFunnel steps="a,b" order="random" />
      <NealyticsRetention interval="week" cohortEvent="signup" returnEvent="view" />
      <NealyticsSessions order="-duration" limit={5} />
      <NealyticsPaths event="signup" direction="next" depth={3} by="user" />
      <NealyticsActive by="user" />
      <NealyticsTimeline session="s" tenant="acme" limit={10} />
      <NealyticsLive />
      <NealyticsHeatmap measure="users" onError={(event) => event.detail.endpoint} />
    </NealyticsDashboard>
  </NealyticsProvider>
);
// @ts-expect-error: no such kind
export const wrong = <NealyticsTimeseries kind="pie" />;

export function Range(): string {
  const { range, from, ready, set } = useNealytics();
  set({ range: "30d", filters: [] });
  return `${range} ${from} ${ready}`;
}

export async function read(): Promise<number> {
  const client = new NealyticsClient({ url: "https://analytics.example.com", getToken: () => "a.b.c" });
  const { results } = await client.query({
    from: "2026-06-01",
    queries: { figures: { endpoint: "summary", compare: "previous" }, items: { endpoint: "top", dimension: "item_id", limit: 5 } },
  });
  if ("error" in results.items) throw new NealyticsError(results.items.error.code, results.items.error.message);
  const count: number = "error" in results.figures ? 0 : results.figures.events + (results.items.items[0]?.count ?? 0);
  // @ts-expect-error: a summary has no items
  results.figures.items;
  // @ts-expect-error: a funnel needs steps
  await client.query({ queries: { steps: { endpoint: "funnel" } } });
  // @ts-expect-error: there is no such interval
  await client.timeseries({ interval: "fortnight" });
  for await (const event of client.timeline({ eventType: "view" })) event.timestamp.slice(0, 10);
  for await (const event of client.live({ filter: ["item_id:eq:/a"] }, { onGap: (gap) => gap.from })) event.sessionId.length;
  for await (const event of client.export({ from: "2026-06-01" })) event.tenantId.length;
  const { data } = await client.api.GET("/api/v1/analytics/top", { params: { query: { dimension: "item_id" } } });
  return count + (data?.items.length ?? 0);
}
export type Mine = Results<{ figures: { endpoint: "summary" } }>;

const track: Tracker = createTracker({ url: "https://analytics.example.com", key: "k", tenant: "t", auto: ["pages", "outbound"], dnt: true });
track("purchase", { itemId: "sku-1", amount: 20, tags: ["a"] });
track.identify("ada", { plan: "pro" });
track.identify(null);
track.optOut(false);
// @ts-expect-error: the node must be named
createTracker({ key: "k" });
// @ts-expect-error: an item is text
track("purchase", { itemId: 1 });
