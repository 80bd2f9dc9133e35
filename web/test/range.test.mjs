import assert from "node:assert/strict";
import { test } from "node:test";

import { source } from "./sources.mjs";

const { compared, daysIn, endsOf, intervalFor, isDay, partOf, plus, plusMonths, preset, rangeOf, soFar, minuteNow, today } = await source("src/data/range.ts");

test("today is the day of the time zone", () => {
  const now = new Date("2026-11-29T23:30:00Z");
  assert.equal(today("UTC", now), "2026-11-29");
  assert.equal(today("Europe/Berlin", now), "2026-11-30");
  assert.equal(today("America/New_York", now), "2026-11-29");
  assert.throws(() => today("Mars/Olympus", now), RangeError);
});

test("days and months follow the calendar", () => {
  assert.equal(plus("2026-02-28", 1), "2026-03-01");
  assert.equal(plus("2028-02-28", 1), "2028-02-29");
  assert.equal(plus("2026-01-01", -1), "2025-12-31");
  assert.equal(plusMonths("2026-03-31", -1), "2026-02-28");
  assert.equal(plusMonths("2026-12-15", 1), "2027-01-15");
  assert.equal(plusMonths("2028-02-29", -12), "2027-02-28");
  assert.equal(daysIn({ from: "2026-03-28", to: "2026-03-30" }), 3);
});

test("what is no day is told from a day", () => {
  for (const text of ["2026-02-29", "2026-13-01", "2026-1-1", "", "today"]) assert.equal(isDay(text), false, text);
  for (const text of ["2028-02-29", "2026-12-31"]) assert.equal(isDay(text), true, text);
});

test("the presets end today, or with the day or month before", () => {
  const now = "2026-03-31";
  const of = (name) => [preset(name, now).from, preset(name, now).to];
  assert.deepEqual(of("today"), ["2026-03-31", "2026-03-31"]);
  assert.deepEqual(of("yesterday"), ["2026-03-30", "2026-03-30"]);
  assert.deepEqual(of("7d"), ["2026-03-25", "2026-03-31"]);
  assert.deepEqual(of("this_month"), ["2026-03-01", "2026-03-31"]);
  assert.deepEqual(of("last_month"), ["2026-02-01", "2026-02-28"]);
});

test("a range is compared with as many days before it, and a month with the month before", () => {
  const of = (range, comparison) => {
    const found = compared(range, comparison);
    return found && [found.from, found.to];
  };
  const week = { from: "2026-03-25", to: "2026-03-31" };
  assert.equal(of(week, "none"), undefined);
  assert.deepEqual(of(week, "previous"), ["2026-03-18", "2026-03-24"]);
  assert.deepEqual(of(week, "year"), ["2025-03-25", "2025-03-31"]);
  assert.deepEqual(of({ from: "2026-03-01", to: "2026-03-31" }, "previous"), ["2026-02-01", "2026-02-28"]);
  assert.deepEqual(of({ from: "2026-01-01", to: "2026-03-31" }, "previous"), ["2025-10-01", "2025-12-31"]);
  // The month so far with the same days of the one before.
  assert.deepEqual(of(preset("this_month", "2026-03-12"), "previous"), ["2026-02-01", "2026-02-12"]);
  assert.deepEqual(of(preset("this_month", "2026-03-30"), "previous"), ["2026-02-01", "2026-02-28"]);
});

test("a chart has neither too few points nor too many", () => {
  const of = (days) => intervalFor({ from: "2026-01-01", to: plus("2026-01-01", days - 1) });
  assert.deepEqual([1, 2, 3, 92, 93, 731, 732].map(of), ["hour", "hour", "day", "day", "week", "week", "month"]);
});

test("the last 30 days are compared with 30 days, also where they are a month", () => {
  assert.deepEqual(compared(preset("30d", "2026-11-30"), "previous"), { from: "2026-10-02", to: "2026-10-31" });
  assert.deepEqual(compared({ from: "2026-11-01", to: "2026-11-30" }, "previous"), { from: "2026-10-01", to: "2026-10-31" });
});

test("a part of a day is minutes by its clocks, both included, and the API takes its last millisecond", () => {
  assert.deepEqual(rangeOf("2026-03-30T09:00..2026-03-30T14:59"), { from: "2026-03-30T09:00", to: "2026-03-30T14:59" });
  assert.deepEqual(rangeOf("2026-03-30"), { from: "2026-03-30", to: "2026-03-30" });
  for (const text of ["2026-03-30T24:00", "2026-02-29T09:00", "2026-03-30T9:00", "2026-03-30T09:00..2026-03-31", "2026-03-31..2026-03-30", "30d", ""]) {
    assert.equal(rangeOf(text), undefined, text);
  }
  assert.deepEqual(endsOf({ from: "2026-03-30T09:00", to: "2026-03-30T14:59" }), { from: "2026-03-30T09:00", to: "2026-03-30T14:59:59.999" });
  assert.deepEqual(endsOf({ from: "2026-03-30", to: "2026-03-30" }), { from: "2026-03-30", to: "2026-03-30" });
});

test("a part of a day is compared with the same hours of the day or year before", () => {
  const part = { from: "2026-03-30T09:00", to: "2026-03-30T14:59" };
  assert.deepEqual(compared(part, "previous"), { from: "2026-03-29T09:00", to: "2026-03-29T14:59" });
  assert.deepEqual(compared(part, "year"), { from: "2025-03-30T09:00", to: "2025-03-30T14:59" });
  const night = { from: "2026-03-30T20:00", to: "2026-03-31T03:59" };
  assert.deepEqual(compared(night, "previous"), { from: "2026-03-28T20:00", to: "2026-03-29T03:59" });
});

test("a few hours are shown by minutes, more by hours", () => {
  assert.equal(intervalFor({ from: "2026-03-30T09:00", to: "2026-03-30T12:59" }), "minute");
  assert.equal(intervalFor({ from: "2026-03-30T09:00", to: "2026-03-30T13:59" }), "hour");
});

test("a part of a chart is whole days, or hours and minutes where its intervals are", () => {
  const day = { from: "2026-03-30", to: "2026-03-30" };
  const hours = Array.from({ length: 24 }, (_, i) => `2026-03-30T${String(i).padStart(2, "0")}:00:00+02:00`);
  assert.deepEqual(partOf(day, "hour", hours, 9, 14), { from: "2026-03-30T09:00", to: "2026-03-30T14:59" });
  assert.deepEqual(partOf(day, "hour", hours, 0, 23), day);
  const minutes = ["2026-03-30T09:00:00Z", "2026-03-30T09:01:00Z", "2026-03-30T09:02:00Z"];
  assert.deepEqual(partOf({ from: "2026-03-30T09:00", to: "2026-03-30T09:02" }, "minute", minutes, 0, 1), { from: "2026-03-30T09:00", to: "2026-03-30T09:01" });
  // The first week of a range may begin before it, and the last end after it.
  const weeks = ["2026-03-30T00:00:00Z", "2026-04-06T00:00:00Z", "2026-04-13T00:00:00Z"];
  const range = { from: "2026-04-01", to: "2026-04-15" };
  assert.deepEqual(partOf(range, "week", weeks, 0, 1), { from: "2026-04-01", to: "2026-04-12" });
  assert.deepEqual(partOf(range, "week", weeks, 1, 2), { from: "2026-04-06", to: "2026-04-15" });
});

test("a range that is not over is compared with as much of the range before", () => {
  const of = (range, now, comparison = "previous") => {
    const found = soFar(range, compared(range, comparison), now);
    return [found.from, found.to];
  };
  const week = preset("7d", "2026-03-31");
  assert.deepEqual(of(week, "2026-03-31T09:05"), ["2026-03-18", "2026-03-24T09:05"]);
  assert.deepEqual(of(week, "2026-04-01T09:05"), ["2026-03-18", "2026-03-24"]); // it is over
  assert.deepEqual(of(preset("today", "2026-03-31"), "2026-03-31T00:00"), ["2026-03-30", "2026-03-30T00:00"]);
  assert.deepEqual(of(preset("today", "2026-03-31"), "2026-03-31T12:00", "year"), ["2025-03-31", "2025-03-31T12:00"]);
  // A range that goes on for days.
  assert.deepEqual(of({ from: "2026-03-20", to: "2026-04-08" }, "2026-03-31T12:00"), ["2026-02-28", "2026-03-11T12:00"]);
  // February has no 30th: the month before was over by then.
  assert.deepEqual(of(preset("this_month", "2026-03-30"), "2026-03-30T12:00"), ["2026-02-01", "2026-02-28"]);
  // Hours that were chosen are compared with those hours.
  const hours = { from: "2026-03-31T09:00", to: "2026-03-31T14:59" };
  assert.deepEqual(of(hours, "2026-03-31T12:00"), ["2026-03-30T09:00", "2026-03-30T14:59"]);
  assert.equal(minuteNow("Europe/Berlin", new Date("2026-03-29T22:04:59Z")), "2026-03-30T00:04");
});
