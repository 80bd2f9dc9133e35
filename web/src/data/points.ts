/** Points over time, as `timeseries` and `active` answer them. */

export interface Point {
  /** The local start of the interval with its offset, as `2026-03-30T00:00:00+02:00`. */
  readonly bucket: string;
  readonly count?: number;
  readonly activeCount?: number;
  readonly series?: string;
  readonly partial?: boolean;
}

export function valueOf(point: Point): number {
  return point.count ?? point.activeCount ?? 0;
}

/** A value for each interval of `axis`, also where nobody was active and there is no point. */
export function onAxis(points: readonly Point[], axis: readonly Point[]): number[] {
  const values = new Map(points.map((point) => [point.bucket, valueOf(point)]));
  return axis.map(({ bucket }) => values.get(bucket) ?? 0);
}
