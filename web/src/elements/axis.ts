/** The arithmetic of a chart's axes: pure, and without units. */

import { type Interval, isOfClock } from "../data/range.ts";

/** At most four horizontal lines with the one at zero. */
const LINES_MAX = 3;
const STEPS = [1, 2, 2.5, 4, 5];

/**
 * Round values of an axis from `least` to `most`, in ascending order; the first and the last are its ends, and 0 is
 * among them. Those of counts are whole.
 */
export function valuesBetween(least: number, most: number, whole = true): number[] {
  const end = (value: number): number => (whole ? Math.max(value, 2) : value > 0 ? value : 1);
  const below = least < 0 && most <= 0 ? end(-least) : Math.max(-least, 0);
  const above = below > 0 ? Math.max(most, 0) : end(most);
  const size = 10 ** Math.floor(Math.log10((above + below) / LINES_MAX));
  const lines = (step: number): number => Math.ceil(above / step) + Math.ceil(below / step);
  const [step] = [size, size * 10]
    .flatMap((unit) => STEPS.map((factor) => factor * unit))
    .filter((one) => (!whole || Number.isInteger(one)) && lines(one) > 1 && lines(one) <= LINES_MAX)
    .sort((one, other) => lines(one) * one - lines(other) * other) as [number];
  return Array.from({ length: lines(step) + 1 }, (_, i) => (i - Math.ceil(below / step)) * step);
}

/** How many intervals may lie between two labels, so that the labels are at round times. */
const BETWEEN: Record<Interval, readonly number[]> = {
  minute: [1, 2, 5, 10, 15, 30, 60, 120],
  hour: [1, 2, 3, 6, 12, 24],
  day: [1, 2, 7, 14, 28],
  week: [1, 2, 4, 13, 26],
  month: [1, 2, 3, 6, 12, 24],
};

export interface Label {
  /** Of the interval that it names. */
  readonly i: number;
  /** Its middle, in pixels from the first interval. */
  readonly at: number;
}

/**
 * The intervals that get a label, and where: as many as have room for their text with a gap between, at round times
 * of the day (`clockOf`: minutes or hours since midnight), else counted from the last one. None is over the ends.
 */
export function labels(
  count: number,
  interval: Interval,
  clockOf: (i: number) => number,
  atOf: (i: number) => number,
  widthOf: (i: number) => number,
  ends: readonly [number, number],
): Label[] {
  const gap = 14;
  const widest = Math.max(...Array.from({ length: count }, (_, i) => widthOf(i)));
  const slot = count > 1 ? atOf(1) - atOf(0) : Number.POSITIVE_INFINITY;
  const every = BETWEEN[interval].find((step) => step * slot >= widest + gap) ?? Math.ceil((widest + gap) / slot);
  const round = (i: number): boolean => (isOfClock(interval) ? clockOf(i) : count - 1 - i) % every === 0;
  const found: Label[] = [];
  let free = Number.POSITIVE_INFINITY; // to the left of what has been placed
  for (let i = count - 1; i >= 0; i--) {
    if (!round(i)) continue;
    const half = widthOf(i) / 2;
    const at = Math.max(ends[0] + half, Math.min(ends[1] - half, atOf(i)));
    if (at + half > free + gap / 2) continue; // one that was moved inside may come nearer
    found.push({ i, at });
    free = at - half - gap;
  }
  return found;
}
