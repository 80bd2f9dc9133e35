/** `nealytics/tracker`: the tracker of `/t.js` for pages with a bundler. */

import { createTracker as create, type Automatic, type Properties, type Tracker, type TrackerOptions } from "./core.ts";

export type { Automatic, Properties, Tracker, TrackerOptions };

/** Starts to send. One tracker is enough for a page. On a server it does nothing, so that a component may create it anywhere. */
export function createTracker(options: TrackerOptions): Tracker {
  if (typeof document === "undefined") return Object.assign(() => {}, { identify() {}, optOut() {} });
  return create({ ...options, url: options.url.replace(/\/*$/, "/"), dnt: options.dnt || undefined });
}
