/**
 * Ranges of whole days, as people pick them, or of minutes, as they zoom; and the calendar arithmetic that they need.
 *
 * Pure: a day is the text `YYYY-MM-DD` in the calendar of the page's time zone, a minute `YYYY-MM-DDTHH:MM` by its
 * clocks, and the server turns them into instants (`from`, `to` and `tz`). So no range is ever off by an hour where the
 * clocks change.
 */

export type Day = string;
export type Minute = string;

export const PRESETS = ["today", "yesterday", "7d", "30d", "90d", "this_month", "last_month"] as const;
export type Preset = (typeof PRESETS)[number];

/** From the first to the last day, or from the first to the last minute, both included. */
export interface Range {
  readonly from: Day | Minute;
  readonly to: Day | Minute;
  /** Moves with today. */
  readonly preset?: Preset;
}

export const COMPARISONS = ["none", "previous", "year"] as const;
export type Comparison = (typeof COMPARISONS)[number];

export type Interval = "minute" | "hour" | "day" | "week" | "month";

const DAY_MS = 86_400_000;
const MINUTES_SHOWN_MAX = 240;

/** Today in `tz`. Throws a `RangeError` for a zone that the browser does not know. */
export function today(tz: string, now: Date): Day {
  // The Swedish locale writes dates as ISO 8601 does.
  return new Intl.DateTimeFormat("sv-SE", { timeZone: tz, dateStyle: "short" }).format(now);
}

/** The minute that the clocks in `tz` show. */
export function minuteNow(tz: string, now: Date): Minute {
  const text = new Intl.DateTimeFormat("sv-SE", { timeZone: tz, dateStyle: "short", timeStyle: "short" }).format(now);
  return text.replace(" ", "T");
}

export function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)) && plus(text, 0) === text;
}

function isMinute(text: string): boolean {
  return isDay(dayOf(text)) && /^T([01]\d|2[0-3]):[0-5]\d$/.test(text.slice(10));
}

/** The range of an attribute or address, `2026-06-01..2026-06-30` or `2026-06-01T09:00..2026-06-01T17:59`. */
export function rangeOf(text: string): Range | undefined {
  const [from = "", to = from] = text.split("..");
  const valid = (isDay(from) && isDay(to)) || (isMinute(from) && isMinute(to));
  return valid && from <= to ? { from, to } : undefined;
}

/** The day of a minute; a day is its own. */
export function dayOf(text: Day | Minute): Day {
  return text.slice(0, 10);
}

/** As the API takes them: a minute there is its first instant. */
export function endsOf({ from, to }: Range): { readonly from: string; readonly to: string } {
  return { from, to: isDay(to) ? to : `${to}:59.999` };
}

/** Days later, at the same time. */
export function plus<T extends Day | Minute>(text: T, days: number): T {
  return `${dayText(new Date(Date.parse(dayOf(text)) + days * DAY_MS))}${text.slice(10)}` as T;
}

/** A month later or earlier; the 31st of a month that has none is its last day. */
export function plusMonths(text: Day | Minute, months: number): Day | Minute {
  const date = new Date(dayOf(text));
  const first = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1));
  const last = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  first.setUTCDate(Math.min(date.getUTCDate(), last));
  return dayText(first) + text.slice(10);
}

/** How many days it touches. */
export function daysIn(range: Range): number {
  return Math.round((Date.parse(dayOf(range.to)) - Date.parse(dayOf(range.from))) / DAY_MS) + 1;
}

function minutesIn(range: Range): number {
  if (isDay(range.to)) return daysIn(range) * 1440;
  return (Date.parse(`${range.to}Z`) - Date.parse(`${range.from}Z`)) / 60_000 + 1;
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

/** What `range` is compared with; undefined for "none". A part of a day is compared with the same hours of a day before. */
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
  const days = daysIn(range);
  return { from: plus(range.from, -days), to: plus(range.to, -days) };
}

/**
 * The part of `before` that corresponds to the part of `range` that is over at the minute `now`.
 *
 * Seven days that end today at nine are compared with the days before up to nine, not with a whole day more.
 */
export function soFar(range: Range, before: Range, now: Minute): Range {
  const today = dayOf(now);
  if (!isDay(range.to) || today < range.from || today > range.to) return before;
  const to = plus(before.from, daysIn({ from: range.from, to: today }) - 1);
  return to > before.to ? before : { from: before.from, to: to + now.slice(10) };
}

/** The interval in which a chart of `range` has neither too few points nor too many. */
export function intervalFor(range: Range): Interval {
  if (minutesIn(range) <= MINUTES_SHOWN_MAX) return "minute";
  const days = daysIn(range);
  if (days <= 2) return "hour";
  if (days <= 92) return "day";
  return days <= 731 ? "week" : "month";
}

/** The part of a range from one of its intervals to another; `starts` are local times such as `2026-03-30T09:00:00+02:00`. */
export function partOf(range: Range, interval: Interval, starts: readonly string[], first: number, last: number): Range {
  if (first === 0 && last === starts.length - 1) return { from: range.from, to: range.to };
  const [start, end] = [starts[first], starts[last]] as [string, string];
  if (isOfClock(interval)) return { from: start.slice(0, 16), to: interval === "hour" ? `${end.slice(0, 14)}59` : end.slice(0, 16) };
  const [from, next] = [dayOf(start), starts[last + 1]];
  return { from: from < range.from ? range.from : from, to: next === undefined ? range.to : plus(dayOf(next), -1) };
}

/** Whether intervals are shorter than a day. */
export function isOfClock(interval: Interval): boolean {
  return interval === "hour" || interval === "minute";
}

function monthsBetween(from: Day, to: Day): number {
  const [one, other] = [new Date(from), new Date(to)];
  return (other.getUTCFullYear() - one.getUTCFullYear()) * 12 + other.getUTCMonth() - one.getUTCMonth();
}

function dayText(date: Date): Day {
  return date.toISOString().slice(0, 10);
}
