import assert from "node:assert/strict";
import { test } from "node:test";

import { source } from "./sources.mjs";

const { LiveEvents, NealyticsError } = await source("src/client/client.ts");

const stream = (text) => new Blob([text]).stream();
const IDLE_MS = 654_321;

/** Runs `body` with waits that are noted and take no time, and with `Math.random() === random`. */
async function waits(random, body) {
  const real = [globalThis.setTimeout, Math.random];
  const noted = [];
  globalThis.setTimeout = (done, ms) => {
    if (ms === IDLE_MS) return real[0](done, ms);
    noted.push(ms);
    return real[0](done, 0);
  };
  Math.random = () => random;
  try {
    await body();
  } finally {
    [globalThis.setTimeout, Math.random] = real;
  }
  return noted;
}

const item = (id) => `id: ${id}\ndata: {"eventId":"${id}"}\n\n`;

test("after a stream that ends, clients come back spread around the stream's `retry`", async () => {
  for (const [random, waited] of [[0, 30_000], [1, 50_000]]) {
    const bodies = [`retry: 40000\n\n${item("1")}`, item("2")];
    const live = new LiveEvents(async () => stream(bodies.shift()), () => {}, { idleTimeoutMs: IDLE_MS });
    const found = [];
    const noted = await waits(random, async () => {
      for await (const { eventId } of live) if (found.push(eventId) === 2) break;
    });
    assert.deepEqual(found, ["1", "2"]);
    assert.deepEqual(noted, [waited]);
  }
});

test("a stream that comes back with each connection does not wait longer each time", async () => {
  const bodies = ["1", "2", "3", "4"].map(item);
  const live = new LiveEvents(async () => stream(bodies.shift()), () => {}, { idleTimeoutMs: IDLE_MS });
  const found = [];
  const noted = await waits(0.5, async () => {
    for await (const { eventId } of live) if (found.push(eventId) === 4) break;
  });
  assert.deepEqual(noted, [2_000, 2_000, 2_000]);
});

test("a getToken that fails later is a break, and one that fails at first ends the loop", async () => {
  const failed = async () => {
    throw new NealyticsError("token_failed", "getToken failed: fetch failed");
  };
  const opens = [() => stream(item("1")), failed, failed, () => stream(item("2"))];
  const states = [];
  const options = { idleTimeoutMs: IDLE_MS, onState: (state, error) => states.push(error ? error.code : state) };
  const live = new LiveEvents(async () => opens.shift()(), () => {}, options);
  const found = [];
  await waits(0.5, async () => {
    for await (const { eventId } of live) if (found.push(eventId) === 2) break;
  });
  assert.deepEqual(found, ["1", "2"]);
  assert.deepEqual(states, ["connected", "reconnecting", "token_failed", "token_failed", "connected"]);
  await assert.rejects(async () => {
    for await (const event of new LiveEvents(failed, () => {}, { idleTimeoutMs: IDLE_MS })) return event;
  }, { code: "token_failed" });
});
