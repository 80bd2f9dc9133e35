/**
 * Ranges of whole days, as people pick them, and the calendar arithmetic that they need.
 *
 * Pure: a day is the text `YYYY-MM-DD` in the calendar of the page's time zone, and the server turns it into
 * instants (`from`, `to` and `tz`). So no range is ever off by an hour where the clocks change.
 */

export type Day = string;

export const PRESETS = ["today", "yesterday", "7d", "30d", "90d", "this_month", "last_month"] as const;
export type Preset = (typeof PRESETS)[number];

/** From the first to the last day, both included. */
export interface Range {
  readonly from: Day;
  readonly to: Day;
  /** Moves with today. */
  readonly preset?: Preset;
}

export const COMPARISONS = ["none", "previous", "year"] as const;
export type Comparison = (typeof COMPARISONS)[number];

export type Interval = "hour" | "day" | "week" | "month";

const DAY_MS = 86_400_000;

/** Today in `tz`. Throws a `RangeError` for a zone that the browser does not know. */
export function today(tz: string, now: Date): Day {
  // The Swedish locale writes dates as ISO 8601 does.
  return new Intl.DateTimeFormat("sv-SE", { timeZone: tz, dateStyle: "short" }).format(now);
}

export function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)) && plus(text, 0) === text;
}

export function plus(day: Day, days: number): Day {
  return dayOf(new Date(Date.parse(day) + days * DAY_MS));
}

/** A month later or earlier; the 31st of a month that has none is its last day. */
export function plusMonths(day: Day, months: number): Day {
  const date = new Date(day);
  const first = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1));
  const last = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  first.setUTCDate(Math.min(date.getUTCDate(), last));
  return dayOf(first);
}

export function daysIn(range: Range): number {
  return Math.round((Date.parse(range.to) - Date.parse(range.from)) / DAY_MS) + 1;
}

/** As attributes and addresses have it. */
export function rangeText(range: Range): string {
  return range.preset ?? `${range.from}..${range.to}`;
}

export function preset(name: Preset, now: Day): Range {
  const month = `${now.slice(0, 8)}01`;
  switch (name) {
    case "today":
      return { preset: name, from: now, to: now };
    case "yesterday":
      return { preset: name, from: plus(now, -1), to: plus(now, -1) };
    case "this_month":
      return { preset: name, from: month, to: now };
    case "last_month":
      return { preset: name, from: plusMonths(month, -1), to: plus(month, -1) };
    default:
      return { preset: name, from: plus(now, 1 - Number.parseInt(name, 10)), to: now };
  }
}

/** What `range` is compared with; undefined for "none". */
export function compared(range: Range, comparison: Comparison): Range | undefined {
  if (comparison === "none") return undefined;
  if (comparison === "year") return { from: plusMonths(range.from, -12), to: plusMonths(range.to, -12) };
  // Calendar months have different lengths: a month is compared with the one before it, and a month so far with
  // the same days of the one before. The last 30 days may be a month by chance.
  if (!/^\d+d$/.test(range.preset ?? "") && range.from.endsWith("-01") && plus(range.to, 1).endsWith("-01")) {
    const months = monthsBetween(range.from, plus(range.to, 1));
    return { from: plusMonths(range.from, -months), to: plus(range.from, -1) };
  }
  if (range.preset === "this_month") return { from: plusMonths(range.from, -1), to: plusMonths(range.to, -1) };
  return { from: plus(range.from, -daysIn(range)), to: plus(range.from, -1) };
}

/** The interval in which a chart of `range` has neither too few points nor too many. */
export function intervalFor(range: Range): Interval {
  const days = daysIn(range);
  if (days <= 2) return "hour";
  if (days <= 92) return "day";
  return days <= 731 ? "week" : "month";
}

function monthsBetween(from: Day, to: Day): number {
  const [one, other] = [new Date(from), new Date(to)];
  return (other.getUTCFullYear() - one.getUTCFullYear()) * 12 + other.getUTCMonth() - one.getUTCMonth();
}

function dayOf(date: Date): Day {
  return date.toISOString().slice(0, 10);
}
