import assert from "node:assert/strict";
import { test } from "node:test";
import { type RopeConfig, ropeSpec } from "./rope.js";

const plain: RopeConfig = { dims: 64, base: 150_000, scaling: { kind: "none" } };

test("plain frequencies fall geometrically from one", () => {
  const { frequencies, magnitude, dims } = ropeSpec(plain, false, null);
  assert.equal(frequencies.length, dims / 2);
  assert.equal(frequencies[0], 1);
  assert.equal(magnitude, 1);
  for (const [i, f] of frequencies.entries()) assert.ok(Math.abs(f / 150_000 ** (-i / 32) - 1) < 1e-14);
});

test("linear scaling divides every frequency; divisors divide each its own", () => {
  const linear = ropeSpec({ ...plain, scaling: { kind: "linear", factor: 8 } }, false, null).frequencies;
  const divisors = Float32Array.from({ length: 32 }, (_, i) => 1 + i);
  const divided = ropeSpec(plain, false, divisors).frequencies;
  for (const [i, f] of ropeSpec(plain, false, null).frequencies.entries()) {
    assert.ok(Math.abs(linear[i]! * 8 - f) <= f * 1e-15);
    assert.ok(Math.abs(divided[i]! * (1 + i) - f) <= f * 1e-15);
  }
});

test("YaRN with the numbers of gpt-oss: fast pairs stay, slow pairs are interpolated, a ramp between", () => {
  const yarn = {
    kind: "yarn",
    factor: 32,
    originalTokens: 4096,
    betaFast: 32,
    betaSlow: 1,
    extrapolation: 1,
    attentionFactor: 1,
    logMultiplier: 0,
  } as const;
  const { frequencies, magnitude } = ropeSpec({ ...plain, scaling: yarn }, false, null);
  const base = ropeSpec(plain, false, null).frequencies;
  // dim(beta) = 64 ln(4096 / (2 pi beta)) / (2 ln 150000): 8.09 for 32 turns, 17.40 for one.
  for (let i = 0; i <= 8; i++) assert.equal(frequencies[i], base[i]);
  for (let i = 18; i < 32; i++) assert.equal(frequencies[i], base[i]! / 32);
  for (let i = 9; i < 18; i++) {
    const ramp = (i - 8) / 10;
    const expected = (base[i]! / 32) * ramp + base[i]! * (1 - ramp);
    assert.ok(Math.abs(frequencies[i]! / expected - 1) < 1e-14, `pair ${i}`);
  }
  assert.ok(Math.abs(magnitude - (1 + 0.1 * Math.log(32))) < 1e-15);
  const off = ropeSpec({ ...plain, scaling: { ...yarn, extrapolation: 0, attentionFactor: 1.5 } }, false, null);
  assert.equal(off.magnitude, 1.5);
});
