import assert from "node:assert/strict";
import { test } from "node:test";

import { source } from "./sources.mjs";

const { isDivision } = await source("src/data/properties.ts");

const UUID = "01890a5d-ac96-774b-bcce-b302099a80";
const pairs = (count, value) => Array.from({ length: count }, (_, i) => value(i));
/** With the first 10 of these values, as the node gives them. */
const property = (key, events, values) => ({
  key: `meta:${key}`,
  events,
  distinctValues: new Set(values).size,
  values: [...new Set(values)].slice(0, 10).map((value) => ({ key: value, count: 1, share: 1 / events })),
});

const DIVIDES = {
  plan: property("plan", 400, ["free", "pro"]),
  "a rating": property("stars", 400, ["1", "2", "3", "4", "5"]),
  "a few events, each with a page of its own": property("path", 3, ["/", "/a", "/b"]),
  "many paths": property("path", 400, pairs(200, (i) => `/page-${i}`)),
  "a version": property("version", 400, ["1.2.3", "1.2.4"]),
};
const DOES_NOT = {
  "one value": property("currency", 400, ["EUR"]),
  "ids of messages": property("messageId", 3, pairs(3, (i) => `ajs-next-1796040623809-${UUID}${10 + i}`)),
  "ids of devices, which several events share": property("$device_id", 400, pairs(20, (i) => `${UUID}${10 + i}`)),
  "other ids": property("$insert_id", 40, pairs(39, (i) => `k${i}x`)),
  "times, which the events of a batch share": property("sentAt", 400, pairs(40, (i) => `2026-11-30T12:00:${10 + i}.000Z`)),
  amounts: property("total", 400, pairs(100, (i) => `${i}.5`)),
  objects: property("context", 400, ['{"ip":"1"}', '{"ip":"2"}']),
  "the version of an SDK": property("$lib_version", 400, ["1.0", "1.1"]),
  "very many values": property("query", 9000, pairs(1000, (i) => `q${i}`)),
};

for (const [name, given] of Object.entries(DIVIDES)) test(`a list is made of ${name}`, () => assert.equal(isDivision(given), true));
for (const [name, given] of Object.entries(DOES_NOT)) test(`no list is made of ${name}`, () => assert.equal(isDivision(given), false));
