import assert from "node:assert/strict";
import { test } from "node:test";

import { source } from "./sources.mjs";

const { sameHours } = await source("src/data/points.ts");

/** The hours of days as the node names them; `skipped` has no hour 2, `repeated` has two. */
function hours(day, { skipped = false, repeated = false } = {}) {
  const named = (hour, offset) => `${day}T${String(hour).padStart(2, "0")}:00:00${offset}`;
  return Array.from({ length: 24 }, (_, hour) => hour).flatMap((hour) => {
    if (hour === 2 && skipped) return [];
    return hour === 2 && repeated ? [named(2, "+02:00"), named(2, "+01:00")] : [named(hour, "+01:00")];
  });
}

test("each hour is compared with the same hour where the clocks change", () => {
  const [plain, spring, autumn] = [hours("2026-03-28"), hours("2026-03-29", { skipped: true }), hours("2026-10-25", { repeated: true })];
  const upTo = (length) => Array.from({ length }, (_, i) => i);
  assert.deepEqual(sameHours(plain, hours("2026-03-27")), upTo(24));
  assert.deepEqual(sameHours(spring, plain), [0, 1, ...upTo(24).slice(3)]);
  assert.deepEqual(sameHours(plain, spring), [0, 1, undefined, ...upTo(23).slice(2)]);
  assert.deepEqual(sameHours(autumn, plain), [0, 1, 2, ...upTo(24).slice(2)]);
  assert.deepEqual(sameHours(plain, autumn), [0, 1, 2, ...upTo(25).slice(4)]);
});

test("hours of two days are told apart, also of a day that is not over", () => {
  const now = [...hours("2026-03-29", { skipped: true }), ...hours("2026-03-30").slice(0, 3)];
  const before = [...hours("2026-03-27"), ...hours("2026-03-28")];
  assert.deepEqual(sameHours(now, before).slice(-3), [24, 25, 26]);
});
