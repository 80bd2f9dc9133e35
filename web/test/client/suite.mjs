/**
 * What the client promises, tried against a real node behind a proxy that spoils answers (tests/browser/test_client.py).
 *
 * The same file runs in Node, Deno, Bun and a browser, so it uses nothing that one of them lacks.
 */

/** Names and errors (`undefined`: it passed). */
export async function run({ NealyticsClient, NealyticsError }, { proxy, token, events, runtime }) {
  const results = [];
  const kind = `live-${runtime}`;
  let number = 0;
  /** A client whose requests go through `mode`, and the log of what the proxy saw. */
  const through = (mode, options = {}) => {
    const url = `${proxy}/${mode}/${runtime}${++number}`;
    const client = new NealyticsClient({ url, getToken: () => token, ...options });
    return { client, seen: async () => (await fetch(`${url}/seen`)).json() };
  };
  const control = (what) => fetch(`${proxy}/control/${what}`, { method: "POST" }).then((r) => r.text());
  const test = async (name, body) => {
    try {
      globalThis.progress?.(name);
      await body();
      results.push([name, null]);
    } catch (error) {
      results.push([name, String(error?.stack ?? error)]);
    }
  };

  await test("every read is answered, and typed questions are answered together", async () => {
    const { client } = through("plain");
    const range = { from: "2026-01-01", to: "2026-01-31" };
    equal((await client.summary(range)).events, events);
    equal((await client.top({ ...range, dimension: "event_type" })).items.length, 2);
    equal((await client.timeseries({ ...range, interval: "day", filter: ["event_type:eq:view", "item_id:eq:/a"] })).totalCount, events / 2);
    equal((await client.funnel({ ...range, step: ["view", "buy"] })).steps.length, 2);
    equal((await client.heatmap(range)).cells.length, 168);
    for (const name of ["sessions", "active", "properties", "retention"]) ok((await client[name](range)).projectId, name);
    ok((await client.paths({ ...range, event: "view" })).starts > 0);
    const { results } = await client.query({
      ...range,
      queries: { figures: { endpoint: "summary" }, wrong: { endpoint: "top", dimension: "nonsense" }, first: { endpoint: "timeline", limit: 3 } },
    });
    equal(results.figures.events, events);
    equal(results.wrong.error.code, "invalid_parameter");
    equal(results.first.events.length, 3);
    const { data } = await client.api.GET("/api/v1/analytics/summary", { params: { query: range } });
    equal(data.events, events);
  });

  await test("what is wrong with a question is an error with the API's code and field", async () => {
    const { client, seen } = through("plain");
    const error = await failure(client.timeseries({ interval: "fortnight" }));
    ok(error instanceof NealyticsError);
    equal([error.code, error.status, error.field], ["invalid_parameter", 400, "interval"]);
    ok(error.requestId);
    equal((await seen()).length, 1);
  });

  await test("the timeline is iterated over all its pages, each event once", async () => {
    const { client, seen } = through("plain");
    const ids = new Set();
    let last = "9";
    for await (const event of client.timeline({ limit: 100, before: "2026-02-01" })) {
      ok(event.timestamp <= last);
      last = event.timestamp;
      ids.add(event.eventId);
    }
    equal(ids.size, events);
    equal((await seen()).length, events / 100);
  });

  await test("a loop that is left fetches no further page", async () => {
    const { client, seen } = through("plain");
    for await (const event of client.timeline({ limit: 10 })) if (event) break;
    equal((await seen()).length, 1);
  });

  await test("a 401 is answered by one fresh token, and a second 401 is an error", async () => {
    let asked = 0;
    const getToken = () => (++asked === 1 ? `${token}x` : token);
    const { client } = through("plain", { getToken });
    equal((await client.summary({ from: "2026-01-01", to: "2026-01-31" })).events, events);
    equal(asked, 2);
    const other = through("plain", { getToken: () => `${token}x` });
    const error = await failure(other.client.summary());
    equal([error.code, error.status, error.needsToken], ["unauthorized", 401, true]);
    equal((await other.seen()).length, 2);
  });

  await test("a caller's own token that is refused is an answer, and the client keeps the one it has", async () => {
    let asked = 0;
    const { client, seen } = through("plain", { getToken: () => (++asked, token) });
    await client.summary();
    const { response } = await client.api.GET("/api/v1/analytics/summary", { headers: { Authorization: `Bearer ${token}x` } });
    equal(response.status, 401);
    await client.summary();
    equal(asked, 1);
    equal((await seen()).map(({ status }) => status), [200, 401, 200]);
  });

  // These four wait for seconds, so they wait while others are tried.
  const replaced = test("a token is replaced before it ends", async () => {
    let asked = 0;
    const given = await control("token/6");
    const { client, seen } = through("plain", { getToken: () => (++asked === 1 ? given : token) });
    await client.summary();
    await sleep(4_000); // of its 6 seconds it is used for 3
    await client.summary();
    equal(asked, 2);
    equal((await seen()).map(({ status }) => status), [200, 200]);
  });

  const ended = test("the live stream comes back with another token when its own has ended", async () => {
    let asked = 0;
    const given = await control("token/-24"); // the node grants 30 seconds more
    const { client } = through("plain", { getToken: () => (++asked === 1 ? given : token) });
    const states = [];
    const leave = new AbortController();
    const loop = (async () => {
      for await (const event of client.live({ eventType: `${kind}-b` }, { signal: leave.signal, onState: (state) => states.push(state) })) return event.itemId;
    })();
    while (states.filter((state) => state === "connected").length < 2) await sleep(50);
    await control(`event/${kind}-b/5`);
    equal(await loop, "5");
    equal(asked, 2);
  });

  const failing = test("the live stream goes on when its own token has ended and getToken fails for the moment", async () => {
    let asked = 0;
    const given = await control("token/-24");
    const getToken = () => {
      asked += 1;
      if (asked === 2) throw new Error("fetch failed");
      return asked === 1 ? given : token;
    };
    const { client } = through("plain", { getToken });
    const states = [];
    const onState = (state, error) => states.push(error ? error.code : state);
    const leave = new AbortController();
    const loop = (async () => {
      for await (const event of client.live({ eventType: `${kind}-d` }, { signal: leave.signal, onState })) return event.itemId;
    })();
    loop.catch((error) => states.push("connected", error));
    while (states.filter((state) => state === "connected").length < 2) await sleep(50);
    await control(`event/${kind}-d/7`);
    equal(await loop, "7");
    equal(states, ["connected", "reconnecting", "token_failed", "connected"]);
    equal(asked, 3);
    const refused = through("plain", { getToken: () => Promise.reject(new Error("fetch failed")) });
    const first = async () => {
      for await (const event of refused.client.live()) return event;
    };
    equal((await failure(first())).code, "token_failed");
  });

  const silent = test("a live stream that says nothing is given up and taken up again", async () => {
    const { client, seen } = through("silent-1");
    const leave = new AbortController();
    const states = [];
    const loop = (async () => {
      const options = { signal: leave.signal, idleTimeoutMs: 2_000, onState: (state) => states.push(state) };
      for await (const event of client.live({ eventType: `${kind}-c` }, options)) return event.itemId;
    })();
    while ((await seen()).length < 2 || states.at(-1) !== "connected") await sleep(50);
    await control(`event/${kind}-c/6`);
    equal(await loop, "6");
  });

  await test("a 503 is asked again, not before Retry-After says", async () => {
    const { client, seen } = through("busy-2");
    equal((await client.summary({ from: "2026-01-01", to: "2026-01-31" })).events, events);
    const requests = await seen();
    equal(requests.map(({ status }) => status), [503, 503, 200]);
    ok(requests[1].at - requests[0].at >= 1 && requests[2].at - requests[1].at >= 1, JSON.stringify(requests));
  });

  await test("the batched question is asked again, too", async () => {
    const { client, seen } = through("busy-1");
    const { results } = await client.query({ queries: { all: { endpoint: "timeline", limit: 1 } } });
    equal(results.all.events.length, 1);
    equal((await seen()).length, 2);
  });

  await test("what stays away is an error after the retries, and an event is never sent twice", async () => {
    const { client, seen } = through("busy-99", { retries: 1 });
    const error = await failure(client.summary());
    equal([error.code, error.status, error.retryAfterS], ["queries_busy", 503, 1]);
    equal((await seen()).length, 2);
    const sending = through("busy-99");
    const { response } = await sending.client.api.POST("/api/v1/telemetry/track", { body: {}, headers: { "X-Project-Key": "k" } });
    equal(response.status, 503);
    equal((await sending.seen()).length, 1);
  });

  await test("an answer that breaks off is asked for again", async () => {
    const { client, seen } = through("break-1");
    equal((await client.summary({ from: "2026-01-01", to: "2026-01-31" })).events, events);
    equal((await seen()).length, 2);
  });

  await test("a wait ends with the signal", async () => {
    const { client, seen } = through("busy-99");
    const leave = new AbortController();
    const asked = failure(client.summary({}, { signal: leave.signal }));
    while ((await seen()).length === 0) await sleep(20);
    leave.abort();
    equal((await asked).name, "AbortError");
  });

  const all = { from: "2026-01-01", to: "2026-01-31" };
  await test("an export has every event, and files of all formats are complete", async () => {
    const { client } = through("plain");
    const ids = new Set();
    for await (const event of client.export(all)) {
      equal(event.tenantId, "acme");
      ids.add(event.eventId);
    }
    equal(ids.size, events);
    const csv = await text(await client.exportFile({ ...all, format: "csv" }));
    equal(csv.split("\r\n").length, 2 * events + 2); // every other event has two within a text
    ok(csv.endsWith('Z"\r\n'));
    const ndjson = await text(await client.exportFile({ ...all, format: "ndjson" }));
    equal(ndjson.trimEnd().split("\n").length, events);
    equal(Object.keys(JSON.parse(ndjson.trimEnd().split("\n").at(-1)))[0], "eventId");
    const parquet = await text(await client.exportFile({ ...all, format: "parquet" }));
    ok(parquet.startsWith("PAR1") && parquet.endsWith("PAR1"));
    let none = 0;
    for await (const event of client.export({ from: "2025-01-01", to: "2025-01-02" })) none += event ? 1 : 0;
    equal(none, 0);
  });

  for (const how of ["cut", "cut-line", "break"]) {
    await test(`an export that is spoiled (${how}) throws at its end`, async () => {
      for (const format of ["csv", "ndjson", "parquet"]) {
        const { client } = through(how);
        const error = await failure(client.exportFile({ ...all, format }).then(text));
        equal(error.code, "export_cut", `${format}: ${error}`);
      }
      const { client } = through(how);
      let seen = 0;
      const loop = async () => {
        for await (const event of client.export(all)) seen += event ? 1 : 0;
      };
      equal((await failure(loop())).code, "export_cut");
      // A connection that is reset may take with it what had arrived.
      ok((seen > 0 || how === "break") && seen < events, String(seen));
    });
  }

  // The next one breaks all streams.
  await Promise.all([replaced, ended, failing, silent]);

  await test("the live stream goes on across a restart of the node, without a gap or a double", async () => {
    const { client } = through("plain");
    const leave = new AbortController();
    const states = [];
    const live = client.live({ eventType: kind }, { signal: leave.signal, onState: (state) => states.push(state) });
    const shown = [];
    const loop = (async () => {
      for await (const event of live) {
        shown.push(event.itemId);
        if (shown.length === 4) break;
      }
    })();
    while (!states.includes("connected")) await sleep(50);
    await control(`event/${kind}/1`);
    while (shown.length < 1) await sleep(50);
    await control("restart");
    await control(`event/${kind}/2`);
    while (shown.length < 2) await sleep(50);
    // Its last id, given to another stream, leads on from there.
    const second = client.live({ eventType: kind }, { signal: leave.signal, lastEventId: live.lastEventId });
    const other = (async () => {
      for await (const event of second) if (event.itemId === "3") return event.itemId;
    })();
    await control(`event/${kind}/3`);
    equal(await other, "3");
    await control(`event/${kind}/4`);
    await loop;
    equal(shown, ["1", "2", "3", "4"]);
    ok(states.includes("reconnecting"));
    ok(live.lastEventId);
    leave.abort();
  });

  await test("a gap is told, or thrown", async () => {
    const gaps = [];
    const { client } = through("gap");
    const leave = new AbortController();
    for await (const event of client.live({}, { signal: leave.signal, onGap: (gap) => gaps.push(gap) })) {
      equal(event.eventId, "after");
      break;
    }
    equal(gaps, [{ code: "gap", from: "2026-01-01T00:00:00Z", to: "2026-01-02T00:00:00Z" }]);
    const other = (async () => {
      for await (const event of through("gap").client.live()) return event;
    })();
    equal((await failure(other)).code, "gap");
  });

  return results;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Not by `new Response(stream)`, which in Chromium puts an error of its own in the place of the stream's. */
async function text(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let all = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return all + decoder.decode();
    all += decoder.decode(value, { stream: true });
  }
}

function ok(value, what = "") {
  if (!value) throw new Error(`it is not so: ${what || value}`);
}

function equal(one, other, what = "") {
  const [found, wanted] = [JSON.stringify(one), JSON.stringify(other)];
  if (found !== wanted) throw new Error(`${what} ${found} is not ${wanted}`);
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}
