import assert from "node:assert/strict";
import { test } from "node:test";
import { hadamard, kvCacheType, kvCacheTypes, kvForm, kvPositionBytes, mixKey } from "./kv-form.js";

const layer = { kvHeads: 2, headDimK: 128, headDimV: 64 };

test("each form is written in one way, and read in every other", () => {
  assert.equal(kvCacheTypes.length, 18);
  assert.equal(new Set(kvCacheTypes).size, 18);
  for (const type of kvCacheTypes) assert.equal(kvCacheType(kvForm(type)), type);
  assert.equal(kvCacheType(kvForm("q8_0:q8_0+h")), "q8_0+h");
  for (const wrong of ["", "f32", "q8_0:", ":q8_0", "q8_0:q4_0:f16", "q8_0+h+h", "+h", "q8_0+k", "Q8_0"])
    assert.throws(() => kvForm(wrong), { code: "OPTION_INVALID" }, wrong);
});

test("bytes of a position are those of its keys and of its values", () => {
  assert.equal(kvPositionBytes("f16", layer), 2 * 2 * (128 + 64));
  assert.equal(kvPositionBytes("q8_0:q4_0", layer), 2 * (4 * 34 + 2 * 18));
  assert.equal(kvPositionBytes("q4_0:f16+h", layer), 2 * (4 * 18 + 2 * 64));
  const latent = { kvHeads: 1, headDimK: 576, headDimV: 512, latent: true };
  assert.equal(kvPositionBytes("q8_0:f16+h", latent), 18 * 34);
  assert.throws(() => kvPositionBytes("f16:q8_0", { ...layer, headDimV: 80 }), { code: "OPTION_INVALID" });
  assert.throws(() => kvPositionBytes("f16+h", { ...layer, headDimK: 96 }), /96 and 64 values have no Hadamard/);
  assert.throws(() => kvPositionBytes("f16+h", { ...latent, headDimK: 560 }), /no Hadamard/);
  // An indexer's keys stay as they are.
  assert.equal(kvPositionBytes("f16+h", { kvHeads: 1, headDimK: 96, headDimV: 0, latent: true }), 192);
});

test("the matrix is Sylvester's, normalised: its own inverse, and it keeps products", () => {
  const ones = (x: number): number => (x === 0 ? 0 : (x & 1) + ones(x >> 1));
  for (const n of [1, 2, 8, 64]) {
    const x = Float64Array.from({ length: n + 2 }, (_, i) => Math.sin(3 * i + 1));
    const mixed = x.slice();
    hadamard(mixed, 1, n);
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += (ones(i & j) % 2 === 0 ? 1 : -1) * x[1 + j]!;
      assert.ok(Math.abs(mixed[1 + i]! - sum / Math.sqrt(n)) < 1e-6, `${n}, ${i}`);
    }
    assert.deepEqual([mixed[0], mixed[n + 1]], [x[0], x[n + 1]], "what stands beside it stays");
    hadamard(mixed, 1, n);
    for (const [i, value] of x.entries()) assert.ok(Math.abs(mixed[i]! - value) < 1e-6);
  }
});

test("of a latent key the values are mixed among themselves", () => {
  const key = Float32Array.of(1, 0, 0, 0, 3, 5);
  mixKey(key, { kvHeads: 1, headDimK: 6, headDimV: 4, latent: true });
  assert.deepEqual(key.subarray(0, 4), Float32Array.of(0.5, 0.5, 0.5, 0.5));
  assert.ok(Math.abs(key[4]! - 8 / Math.SQRT2) < 1e-6 && Math.abs(key[5]! + 2 / Math.SQRT2) < 1e-6);
});
