/** The events that elements send to the page around them. They bubble, and leave shadow trees. */

import type { Measure } from "./page.ts";
import type { Comparison, Range } from "./range.ts";

/** `nealytics-range-change`: what the page shows from now on. */
export interface RangeDetail extends Range {
  readonly comparison: Comparison;
  readonly tz: string;
}

/** `nealytics-filter-change`: the conditions that hold from now on. */
export interface FilterDetail {
  readonly filters: readonly string[];
}

/** `nealytics-measure-change`: what the chart shows from now on. */
export interface MeasureDetail {
  readonly measure: Measure;
}

/** `nealytics-ready`: once, when the first answers are shown. */
export interface ReadyDetail extends RangeDetail, FilterDetail {}

/** `nealytics-select`: a row was clicked. `preventDefault()` keeps it from becoming a filter. */
export interface SelectDetail {
  readonly filter: string;
  readonly key: string;
  readonly count: number;
  readonly share: number;
  readonly users?: number;
  /** Of a user or session, with a token of the whole project. */
  readonly tenantId?: string;
}

/** `nealytics-error`: there is no answer, to one question (`endpoint`) or to all. */
export interface ErrorDetail {
  /** The API's, or `offline`, `no_token`, `token_failed`, `no_src`; or `http`: an answer that is not the API's. */
  readonly code: string;
  readonly message: string;
  /** The status of the answer; 0 if there was none. */
  readonly status: number;
  readonly endpoint?: string;
}

export interface NealyticsEvents {
  "nealytics-ready": CustomEvent<ReadyDetail>;
  "nealytics-range-change": CustomEvent<RangeDetail>;
  "nealytics-filter-change": CustomEvent<FilterDetail>;
  "nealytics-measure-change": CustomEvent<MeasureDetail>;
  "nealytics-select": CustomEvent<SelectDetail>;
  "nealytics-error": CustomEvent<ErrorDetail>;
}

declare global {
  interface HTMLElementEventMap extends NealyticsEvents {}
}
