import assert from "node:assert/strict";
import { test } from "node:test";
import type { NativeAddon } from "../native/addon.types.js";
import { costsOf, measureCompute } from "./compute-rates.js";

test("from the times of two products follow the cost of a row and that of unpacking", () => {
  // A row takes 1 ms, unpacking as long as five: 16 rows 21 ms, 256 rows 261 ms.
  const { opsPerSecond, unpackRows } = costsOf(16 / 0.021, 256 / 0.261);
  assert.ok(Math.abs(unpackRows - 5) < 1e-9, `${unpackRows}`);
  assert.ok(Math.abs(opsPerSecond - 1000) < 1e-6, `${opsPerSecond}`);
  // A moment in which the machine gave less says nothing of unpacking.
  assert.deepEqual(costsOf(200, 100), { opsPerSecond: 100, unpackRows: 0 });
  assert.equal(costsOf(1, 100).unpackRows, 16);
});

test("the best of all rounds counts, and the first type is measured whatever it takes", () => {
  let calls = 0;
  const addon = {
    gemmRate: () => (++calls === 2 ? 5e10 : 1e11),
    attentionRate: () => 1e10 + calls,
    gateRate: () => 1e9,
  } as unknown as NativeAddon;
  const { products, attentionOpsPerSecond } = measureCompute(addon, 2, 5);
  assert.deepEqual(products.Q4_K, { opsPerSecond: 1e11, unpackRows: 0 });
  assert.ok(attentionOpsPerSecond > 1e10 && products.BF16 !== undefined && products.IQ2_XXS !== undefined);
  assert.deepEqual(Object.keys(measureCompute(addon, 2, 0).products), ["Q4_K"]);
});
