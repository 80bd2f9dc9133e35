import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { source } from "./sources.mjs";

const { LiveStream, QueryError } = await source("src/data/live.ts");

/** A stream on a node that answers with `bodies`, one after the other. */
function streaming(t, ...bodies) {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  mock.method(Math, "random", () => 0.5); // no jitter
  const [asked, events, states] = [[], [], []];
  const client = {
    expireToken() {},
    async fetch(path) {
      asked.push(path.split("?")[1]);
      const body = bodies.shift() ?? open().body;
      if (body instanceof Error) throw body;
      return { body };
    },
  };
  const stream = new LiveStream(client, (data) => events.push(data), (state) => states.push(state));
  t.after(() => {
    stream.stop();
    mock.timers.reset();
    mock.restoreAll();
  });
  stream.start([]);
  return { asked, events, states, stream };
}

function open() {
  let controller;
  const body = new ReadableStream({ start: (given) => (controller = given) });
  return { body, send: (text) => controller.enqueue(new TextEncoder().encode(text)), end: () => controller.close() };
}

/** Until what has been started has come as far as it can. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("after a short break a stream continues behind its last message, when the node said", async (t) => {
  const first = open();
  const { asked, events, states } = streaming(t, first.body);
  await settled();
  first.send('retry: 1500\n\nid: 7\ndata: "a"\n\n');
  await settled();
  first.end();
  await settled();
  mock.timers.tick(1_499);
  await settled();
  assert.deepEqual(asked, [""]);
  mock.timers.tick(1);
  await settled();
  assert.deepEqual(asked, ["", "lastEventId=7"]);
  assert.deepEqual(events, ['"a"']);
  assert.deepEqual(states, ["connecting", "connected", "reconnecting", "connected"]);
});

test("after a long break a stream starts from now", async (t) => {
  const first = open();
  const { asked, stream } = streaming(t, first.body);
  await settled();
  first.send('id: 7\ndata: "a"\n\n');
  await settled();
  mock.timers.setTime(1_000_000 + 3_600_000); // the machine slept
  first.end();
  await settled();
  mock.timers.tick(2_000);
  await settled();
  assert.deepEqual(asked, ["", ""]);
  assert.equal(stream.resumed, false);
});

test("a connection on which nothing comes for a minute is given up", async (t) => {
  const first = open();
  const { states } = streaming(t, first.body);
  await settled();
  mock.timers.tick(50_000);
  first.send(": alive\n\n");
  await settled();
  mock.timers.tick(50_000);
  await settled();
  assert.equal(states.at(-1), "connected");
  mock.timers.tick(10_000);
  await settled();
  assert.equal(states.at(-1), "reconnecting");
});

test("what gives the tokens may fail for a while", async (t) => {
  const first = open();
  const failed = new QueryError("token_failed", "getToken failed: status 500");
  const { states } = streaming(t, first.body, failed, failed);
  await settled();
  first.end();
  for (const ms of [2_000, 2_000, 4_000]) {
    await settled();
    mock.timers.tick(ms);
  }
  await settled();
  assert.deepEqual(states, ["connecting", "connected", "reconnecting", "failed", "failed", "connected"]);
});

test("a stream that the node refuses later has ended", async (t) => {
  const first = open();
  const { states } = streaming(t, first.body, new QueryError("forbidden", "not this one", 403));
  await settled();
  first.end();
  await settled();
  mock.timers.tick(2_000);
  await settled();
  assert.equal(states.at(-1), "failed");
});
