/** The elements of `/embed.js`. The dashboard first, so that its children find it when they are upgraded. */

import { NealyticsDashboard } from "./elements/dashboard.ts";
import { NealyticsActive } from "./elements/active.ts";
import { NealyticsFigures } from "./elements/figures.ts";
import { NealyticsFunnel } from "./elements/funnel.ts";
import { NealyticsHeatmap } from "./elements/heatmap.ts";
import { NealyticsLive } from "./elements/live.ts";
import { NealyticsPaths } from "./elements/paths.ts";
import { NealyticsProperties } from "./elements/properties.ts";
import { NealyticsQuery } from "./elements/query.ts";
import { NealyticsRetention } from "./elements/retention.ts";
import { NealyticsSessions } from "./elements/sessions.ts";
import { NealyticsTenants } from "./elements/tenants.ts";
import { NealyticsTimeline } from "./elements/timeline.ts";
import { NealyticsTimeseries } from "./elements/timeseries.ts";
import { NealyticsTop } from "./elements/top.ts";

const ELEMENTS = {
  "nealytics-dashboard": NealyticsDashboard,
  "nealytics-figures": NealyticsFigures,
  "nealytics-timeseries": NealyticsTimeseries,
  "nealytics-top": NealyticsTop,
  "nealytics-tenants": NealyticsTenants,
  "nealytics-properties": NealyticsProperties,
  "nealytics-funnel": NealyticsFunnel,
  "nealytics-retention": NealyticsRetention,
  "nealytics-sessions": NealyticsSessions,
  "nealytics-paths": NealyticsPaths,
  "nealytics-active": NealyticsActive,
  "nealytics-timeline": NealyticsTimeline,
  "nealytics-live": NealyticsLive,
  "nealytics-heatmap": NealyticsHeatmap,
  "nealytics-query": NealyticsQuery,
};

// On a server there is nothing to define, and importing is harmless.
if (typeof customElements !== "undefined") {
  for (const [name, element] of Object.entries(ELEMENTS)) {
    if (!customElements.get(name)) customElements.define(name, element);
  }
}

export {
  NealyticsActive,
  NealyticsDashboard,
  NealyticsFigures,
  NealyticsFunnel,
  NealyticsHeatmap,
  NealyticsLive,
  NealyticsPaths,
  NealyticsProperties,
  NealyticsQuery,
  NealyticsRetention,
  NealyticsSessions,
  NealyticsTenants,
  NealyticsTimeline,
  NealyticsTimeseries,
  NealyticsTop,
};

export type { GetToken } from "./data/client.ts";
export type { ErrorDetail, FilterDetail, MeasureDetail, NealyticsEvents, RangeDetail, ReadyDetail, SelectDetail } from "./data/host-events.ts";
export type { Messages } from "./text/messages.ts";

declare global {
  interface HTMLElementTagNameMap {
    "nealytics-dashboard": NealyticsDashboard;
    "nealytics-figures": NealyticsFigures;
    "nealytics-timeseries": NealyticsTimeseries;
    "nealytics-top": NealyticsTop;
    "nealytics-tenants": NealyticsTenants;
    "nealytics-properties": NealyticsProperties;
    "nealytics-funnel": NealyticsFunnel;
    "nealytics-retention": NealyticsRetention;
    "nealytics-sessions": NealyticsSessions;
    "nealytics-paths": NealyticsPaths;
    "nealytics-active": NealyticsActive;
    "nealytics-timeline": NealyticsTimeline;
    "nealytics-live": NealyticsLive;
    "nealytics-heatmap": NealyticsHeatmap;
    "nealytics-query": NealyticsQuery;
  }
}
