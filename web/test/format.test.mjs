import assert from "node:assert/strict";
import { test } from "node:test";

import { source } from "./sources.mjs";

const { Format } = await source("src/text/format.ts");

test("a change of a share is in percentage points, also where numbers are shares", () => {
  const plain = new Format("en", "UTC", {});
  for (const format of [plain, plain.as("percent"), plain.as("EUR")]) {
    assert.deepEqual(format.changeOfShare(0.298, 0.247), { text: "5.1 pp", sign: 1 });
    assert.deepEqual(format.changeOfShare(0.2, 0.25), { text: "5 pp", sign: -1 });
    assert.deepEqual(format.changeOfShare(0.25, 0.25), { text: "0 pp", sign: 0 });
  }
});
