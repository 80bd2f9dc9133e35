/** `/t.js`: the tracker as one line of a page. The attributes of its element are the options. */

import { createTracker, type Tracker, type TrackerOptions } from "./tracker/core.ts";

declare global {
  interface Window {
    /** Before the script has loaded, a page may keep calls in `q`. */
    nealytics?: Tracker & { q?: Parameters<Tracker>[] };
  }
}

const { dataset, src } = document.currentScript as HTMLScriptElement;
const { tokenUrl } = dataset;
const early = window.nealytics;
if (!early?.optOut) {
  window.nealytics = createTracker({
    // Without the name and the query of the script, which may change: the queue must not.
    url: new URL(".", src) as unknown as string,
    ...(dataset as object),
    token: (tokenUrl && (() => fetch(tokenUrl).then((answer) => answer.text()))) as TrackerOptions["token"],
  });
  early?.q?.forEach((call) => window.nealytics!(...call));
}
