/** Points over time, as `timeseries` and `active` answer them. */

export interface Point {
  /** The local start of the interval with its offset, as `2026-03-30T00:00:00+02:00`. */
  readonly bucket: string;
  /** What was asked for; null if there is none, as of an average of nothing. */
  readonly value: number | null;
  readonly series?: string;
  readonly other?: boolean;
  readonly partial?: boolean;
}

/**
 * For each hour of `now` its place in `before`: the same hour of the same day of the range, also where the clocks change.
 *
 * An hour that occurs twice is compared with the first if there is no second, an hour that `before` has not with none.
 */
export function sameHours(now: readonly string[], before: readonly string[]): (number | undefined)[] {
  const places = new Map(hourNames(before).map((name, i) => [name, i]));
  return hourNames(now).map((name) => places.get(name) ?? places.get(name.replace(/\+$/, "")));
}

/** By the day's number within the range and the local hour; a second one ends with a plus. */
function hourNames(buckets: readonly string[]): string[] {
  const days = [...new Set(buckets.map((bucket) => bucket.slice(0, 10)))];
  const names = buckets.map((bucket) => `${days.indexOf(bucket.slice(0, 10))} ${bucket.slice(11, 16)}`);
  return names.map((name, i) => (names.indexOf(name) < i ? `${name}+` : name));
}

/** A value for each interval of `axis`: 0 where nobody was active and there is no point, null where it is null. */
export function onAxis(points: readonly Point[], axis: readonly Point[]): (number | null)[] {
  const values = new Map(points.map((point) => [point.bucket, point.value]));
  return axis.map(({ bucket }) => values.get(bucket) ?? (values.has(bucket) ? null : 0));
}
