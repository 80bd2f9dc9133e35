import assert from "node:assert/strict";
import { test } from "node:test";

import { source } from "./sources.mjs";

const { Tokens } = await source("src/data/token.ts");

const made = (name, lifeS) => {
  const claims = Buffer.from(JSON.stringify({ sub: name, exp: Math.floor(Date.now() / 1000) + lifeS })).toString("base64url");
  return `head.${claims}.${name}`;
};

test("a token is asked for once, by however many want it", async () => {
  let asked = 0;
  const tokens = new Tokens(async () => made(`t${++asked}`, 600));
  const all = await Promise.all([tokens.get(), tokens.get(), tokens.get()]);
  assert.equal(asked, 1);
  assert.deepEqual(new Set([...all, await tokens.get()]).size, 1);
});

test("a token of the past is asked for again, by the server's clock", async () => {
  let asked = 0;
  const tokens = new Tokens(() => made(`t${++asked}`, 600));
  await tokens.get();
  tokens.saw(new Date(Date.now() + 3600_000).toUTCString()); // the server is an hour ahead
  tokens.forget(await tokens.get());
  await tokens.get();
  await tokens.get();
  assert.equal(asked, 4); // each of them is over already as the server sees it
});

test("while no new token can be had the old one is used to its end, by the server's clock", async () => {
  const first = made("first", 600);
  let out = false;
  const tokens = new Tokens(() => (out ? Promise.reject(new Error("503")) : first));
  await tokens.get();
  out = true;
  tokens.saw(new Date(Date.now() + 570_000).toUTCString());
  assert.equal(await tokens.get(), first);
  tokens.saw(new Date(Date.now() + 602_000).toUTCString());
  await assert.rejects(tokens.get(), { code: "token_failed", status: 0 });
});

test("a refusal by the page's own server has its status", async () => {
  await assert.rejects(new Tokens(() => Promise.reject(new Error(401))).get(), { code: "token_failed", status: 401, isSignInEnd: true });
  await assert.rejects(new Tokens(() => Promise.reject(Object.assign(new Error("no"), { status: 403 }))).get(), { status: 403, isSignInEnd: true });
  await assert.rejects(new Tokens(() => Promise.reject(new Error(500))).get(), { status: 0, isSignInEnd: false, isPassing: true });
});

test("only the token that was refused is forgotten", async () => {
  let asked = 0;
  const tokens = new Tokens(() => made(`t${++asked}`, 600));
  const first = await tokens.get();
  tokens.forget(first);
  const second = await tokens.get();
  tokens.forget(first); // a late answer to the first
  assert.equal(await tokens.get(), second);
});

test("a token that was on its way when its person left is not used", async () => {
  let give;
  const answers = [new Promise((resolve) => (give = resolve)), made("second", 600)];
  const tokens = new Tokens(() => answers.shift());
  const early = tokens.get();
  tokens.forget();
  const late = await tokens.get();
  give(made("first", 600));
  assert.equal(await early, late);
  assert.equal(await tokens.get(), late);
});

test("what is no token is an error that says so", async () => {
  await assert.rejects(new Tokens().get(), { code: "no_token" });
  await assert.rejects(new Tokens(() => "<html>").get(), { code: "token_failed" });
  await assert.rejects(new Tokens(() => Promise.reject(new Error("404"))).get(), /getToken failed: 404/);
});

test("a token of somebody else is told before it is used, a new one of the same person is not", async () => {
  const people = ["ada", "ada", "bob"];
  const told = [];
  const tokens = new Tokens(() => made(people.shift(), 600 + people.length), () => told.push(people.length));
  await tokens.get();
  tokens.expire();
  await tokens.get();
  assert.deepEqual(told, []);
  tokens.expire();
  await tokens.get();
  assert.deepEqual(told, [0]);
});

test("a token that cannot be had offline is no sign-in that has ended", async (t) => {
  const real = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  t.after(() => (real ? Object.defineProperty(globalThis, "navigator", real) : delete globalThis.navigator));
  Object.defineProperty(globalThis, "navigator", { value: { onLine: false }, configurable: true });
  await assert.rejects(new Tokens(() => Promise.reject(new TypeError("fetch failed"))).get(), { code: "offline" });
});

test("the claims that Microsoft Entra changes at each renewal are not the person's", async () => {
  let renewed = 0;
  const entra = () => {
    renewed += 1;
    const passing = Object.fromEntries(["uti", "aio", "rh", "nonce", "at_hash", "iat"].map((name) => [name, `${name}-${renewed}`]));
    return `head.${Buffer.from(JSON.stringify({ sub: "ada", tid: "acme", ...passing })).toString("base64url")}.sign`;
  };
  let others = 0;
  const tokens = new Tokens(entra, () => (others += 1));
  await tokens.get();
  tokens.expire();
  await tokens.get();
  assert.deepEqual([renewed, others], [2, 0]);
});
