/** Why there is no answer, in words for the person before the page: what is wrong, and what to do if they can. */

import type { QueryError } from "../data/error.ts";
import type { Format } from "../text/format.ts";

/** Of single questions, which have no status of their own. */
const BUSY = ["queries_busy", "answers_busy", "rate_limited", "clickhouse_unavailable", "stopping"];
const TOO_LARGE = ["query_too_large", "result_too_large"];

export function reasonOf(error: QueryError, f: Format): readonly [title: string, hint: string] {
  if (error.isSignInEnd) return [f.text("expired"), f.text("expired_hint")];
  if (error.code === "offline") return [f.text(navigator.onLine ? "unreachable" : "offline"), ""];
  if (error.isQuota) return [f.text("quota"), error.retryAt ? f.text("again_at", f.moment(error.retryAt)) : ""];
  if (error.status === 429 || error.status === 503 || BUSY.includes(error.code)) return [f.text("busy"), ""];
  if (TOO_LARGE.includes(error.code) || error.field === "fill") return [f.text("too_large"), f.text("too_large_hint")];
  if (error.isCommon || error.status === 401 || error.isPassing) return [f.text("unavailable"), ""];
  return [f.text("error"), ""];
}

/** Whether to ask the same again may bring an answer, so that there is a button for it. */
export function canRetry(error: QueryError): boolean {
  return !error.isLastToken && !TOO_LARGE.includes(error.code) && !(error.isQuota && error.retryAt);
}
