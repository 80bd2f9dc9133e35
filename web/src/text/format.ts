/** Numbers, times and names as the reader's language writes them. Everything goes through `Intl`. */

import { dayOf, type Interval, type Range } from "../data/range.ts";
import { ENGLISH, type Key, type Messages } from "./messages.ts";

export interface Change {
  readonly text: string;
  readonly sign: -1 | 0 | 1;
}

export class Format {
  readonly #numbers = new Map<string, Intl.NumberFormat>();
  readonly #units = new Map<string, Format>();
  readonly #dates = new Map<string, Intl.DateTimeFormat>();

  constructor(
    readonly lang: string,
    readonly tz: string,
    readonly messages: Messages,
    private readonly style: Intl.NumberFormatOptions = {},
  ) {}

  /** The same with numbers as shares (`percent`), or as amounts of a currency such as `EUR`; without either the same. */
  as(unit: string | undefined): Format {
    if (!unit) return this;
    return cached(this.#units, { unit }, () => {
      const style: Intl.NumberFormatOptions = unit === "percent" ? { style: unit } : { style: "currency", currency: unit };
      try {
        new Intl.NumberFormat(this.lang, style);
      } catch {
        console.error(`nealytics: currency is "${unit}"; write a code of ISO 4217, such as EUR`);
        return this;
      }
      return new Format(this.lang, this.tz, this.messages, style);
    });
  }

  text(key: Key, ...values: string[]): string {
    const text = this.messages[key] ?? ENGLISH[key];
    return text.replace(/\{(\d)\}/g, (_, i: string) => values[Number(i)] ?? "");
  }

  /** 1,234 as it is, 12,345 as 12.3K; with 12,345 beside it also 1,234 as 1.2K. */
  short(value: number, beside = value): string {
    if (Math.abs(beside) < 10_000 || Math.abs(value) < 1000) {
      return this.style.style === "currency" ? this.#number({ ...this.style, trailingZeroDisplay: "stripIfInteger" }).format(value) : this.exact(value);
    }
    return this.#number({ ...this.style, notation: "compact", maximumFractionDigits: 1, useGrouping: true }).format(value);
  }

  exact(value: number): string {
    if (this.style.style === "currency") return this.#number(this.style).format(value);
    return this.#number({ ...this.style, maximumFractionDigits: Math.abs(value) < 100 ? 1 : 0 }).format(value);
  }

  /** With all of its digits, and at least so many after the point. */
  whole(value: number, digits = 0): string {
    return this.#number({ minimumFractionDigits: digits, maximumFractionDigits: Math.max(digits, 6) }).format(value);
  }

  percent(share: number): string {
    const digits = Math.abs(share) < 0.1 ? 1 : 0;
    return this.#number({ style: "percent", maximumFractionDigits: digits }).format(share);
  }

  /** A change from `before` to `now`; undefined where there is nothing to compare with, also where it is 0. */
  change(now: number, before: number | undefined): Change | undefined {
    if (!before) return undefined;
    const share = (now - before) / Math.abs(before);
    const rounded = Math.round(Math.abs(share) * 1000) / 1000;
    const digits = rounded < 1 ? 1 : 0;
    const text = this.#number({ style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(rounded);
    return { text, sign: rounded === 0 ? 0 : share > 0 ? 1 : -1 };
  }

  /** A change in words: "up 12.4%". */
  changed({ sign, text }: Change): string {
    return sign === 0 ? this.text("no_change") : this.text(sign > 0 ? "up" : "down", text);
  }

  /** A change of a share, in percentage points: a rate that rises from 20 to 22 % does not read as 10 %. */
  changeOfShare(now: number, before: number | undefined): Change | undefined {
    if (before === undefined) return undefined;
    const points = Math.round((now - before) * 1000) / 10;
    // Not `exact`: where numbers are shares, that would write 5 points as 500 %.
    return { text: this.text("points", this.whole(Math.abs(points))), sign: points === 0 ? 0 : points > 0 ? 1 : -1 };
  }

  /** A number of units: "3 wk", or narrow "3w". */
  unit(value: number, unit: string, unitDisplay: "short" | "narrow" = "short"): string {
    return this.#number({ style: "unit", unit, unitDisplay, maximumFractionDigits: 0 }).format(value);
  }

  /** Its two largest units: 48s, 12m 5s, 3h 20m, 2d 1h. */
  duration(seconds: number): string {
    let rest = Math.round(seconds);
    const display = NARROW_IS_LATIN.test(this.lang) ? "short" : "narrow";
    const first = UNITS.findIndex(([, length]) => rest >= length);
    const parts = UNITS.slice(first, first + 2).map(([unit, length]) => {
      const count = Math.floor(rest / length);
      rest %= length;
      return count ? this.unit(count, unit, display) : "";
    });
    return parts.filter(Boolean).join(" ") || this.unit(0, "second", display);
  }

  /** The start of an interval, as a tooltip names it. */
  bucket(start: Date, interval: Interval): string {
    return this.#date(BUCKETS[interval]).format(start);
  }

  /** The same, as an axis has room for. */
  tick(start: Date, interval: Interval): string {
    return this.#date(TICKS[interval]).format(start);
  }

  /** The time of day, to the second. */
  clock(at: Date): string {
    return this.#date({ hour: "numeric", minute: "2-digit", second: "2-digit" }).format(at);
  }

  /** The time of day, and of another day than today that day. */
  latest(at: Date): string {
    const day = this.tick(at, "day");
    return day === this.tick(new Date(), "day") ? this.clock(at) : `${day} ${this.clock(at)}`;
  }

  /** A point in time: within some hours from now the time alone. */
  moment(at: Date): string {
    return Math.abs(Date.now() - at.getTime()) < 12 * 3_600_000 ? this.tick(at, "hour") : this.bucket(at, "hour");
  }

  /** A day of the week, 1 is Monday. */
  weekday(day: number): string {
    // 1 January 2024 was a Monday.
    return this.#date({ timeZone: "UTC", weekday: "short" }).format(new Date(Date.UTC(2024, 0, day)));
  }

  /** A full hour of the day. */
  hour(hour: number): string {
    return this.#date({ timeZone: "UTC", hour: "numeric" }).format(new Date(Date.UTC(2024, 0, 1, hour)));
  }

  /** A range of days, or of minutes up to the end of the last. */
  range({ from, to }: Range): string {
    const options: Intl.DateTimeFormatOptions = { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" };
    if (from === dayOf(from)) return this.#date(options).formatRange(new Date(from), new Date(to));
    const times = this.#date({ ...options, hour: "numeric", minute: "2-digit" });
    return times.formatRange(new Date(`${from}Z`), new Date(Date.parse(`${to}Z`) + 60_000));
  }

  #number(options: Intl.NumberFormatOptions): Intl.NumberFormat {
    return cached(this.#numbers, options, () => new Intl.NumberFormat(this.lang, options));
  }

  #date(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
    return cached(this.#dates, options, () => new Intl.DateTimeFormat(this.lang, { timeZone: this.tz, ...options }));
  }
}

/** Of a duration, with their seconds. */
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]] as const;
/** In these languages a narrow unit is a Latin letter, which nobody writes there. */
const NARROW_IS_LATIN = /^ja\b/;
const MINUTE = { weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" } as const;
const BUCKETS: Record<Interval, Intl.DateTimeFormatOptions> = {
  minute: MINUTE,
  hour: MINUTE,
  day: { weekday: "short", day: "numeric", month: "long", year: "numeric" },
  week: { day: "numeric", month: "long", year: "numeric" },
  month: { month: "long", year: "numeric" },
};
const TICKS: Record<Interval, Intl.DateTimeFormatOptions> = {
  minute: { hour: "numeric", minute: "2-digit" },
  hour: { hour: "numeric", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
  week: { day: "numeric", month: "short" },
  month: { month: "short", year: "2-digit" },
};

function cached<T>(kept: Map<string, T>, options: object, make: () => T): T {
  const key = JSON.stringify(options);
  let found = kept.get(key);
  if (found === undefined) kept.set(key, (found = make()));
  return found;
}
