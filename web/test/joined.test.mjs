import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { source } from "./sources.mjs";

const { joined } = await source("src/react/token.ts");

test("calls at the same time are one call, and later ones ask again", async () => {
  let asked = 0;
  const getToken = joined(async () => `t${++asked}`);
  assert.deepEqual(await Promise.all([getToken(), getToken(), getToken()]), ["t1", "t1", "t1"]);
  assert.deepEqual(await Promise.all([getToken(), getToken()]), ["t2", "t2"]);
});

test("a call that fails fails for all that joined it, and the next one asks again", async () => {
  let asked = 0;
  const getToken = joined(() => {
    if (++asked === 1) throw new Error("404");
    return "t2";
  });
  const both = await Promise.allSettled([getToken(), getToken()]);
  assert.deepEqual(both.map(({ reason }) => reason.message), ["404", "404"]);
  assert.equal(await getToken(), "t2");
});

test("a call that never ends is not joined for good", async () => {
  const now = mock.method(performance, "now", () => 0);
  let asked = 0;
  const getToken = joined(() => (++asked === 1 ? new Promise(() => {}) : "t2"));
  void getToken();
  now.mock.mockImplementation(() => 19_999);
  void getToken();
  assert.equal(asked, 1);
  now.mock.mockImplementation(() => 20_000);
  assert.equal(await getToken(), "t2");
  mock.restoreAll();
});
