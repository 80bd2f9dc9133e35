/** Which metadata keys make a list of values: those by which people divide their events. Decided by the values, not by names. */

export interface Property {
  readonly key: string;
  readonly events: number;
  readonly distinctValues: number;
  readonly values: readonly { readonly key: string; readonly count: number; readonly share: number }[];
}

const DISTINCT_MAX = 1000;
/** Of fewer events, it says little that each has another value. */
const UNIQUE_EVENTS_MIN = 10;
const UNIQUE_SHARE = 0.9;
/** More different numbers are amounts; fewer may be a rating or a status. */
const NUMBERS_MAX = 20;

/** Ids, times, and objects as text. */
const NO_GROUP = /[\da-f]{8}(-[\da-f]{4}){3}-|^\d{4}-\d\d-\d\dT|^[{[]/i;
/** What SDKs say of themselves. */
const OF_SDK = /^meta:\$lib(_|$)/;

export function isDivision({ key, events, distinctValues: distinct, values }: Property): boolean {
  const isUnique = events >= UNIQUE_EVENTS_MIN && distinct >= UNIQUE_SHARE * events;
  const isAmount = distinct > NUMBERS_MAX && values.every(({ key: value }) => value && !isNaN(+value));
  return distinct > 1 && distinct < DISTINCT_MAX && !isUnique && !isAmount && !OF_SDK.test(key) && !values.every(({ key: value }) => NO_GROUP.test(value));
}
