import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addonStatus, loadAddon } from "../native/addon.js";
import { type RowScans, topLogprobs } from "./logprobs.js";

const addon = loadAddon();
if (addon === undefined) console.error(`log-probabilities: SKIPPED with the addon's scans: ${addonStatus().reason}`);
const everyScan: readonly RowScans[] = addon === undefined ? [{}] : [{}, addon];

const rows = fc
  .array(fc.oneof(fc.integer({ min: -4, max: 4 }), fc.float({ min: -1e4, max: 1e4, noNaN: true })), {
    minLength: 1,
    maxLength: 700,
  })
  .map((values) => Float32Array.from(values));

/** log p of every token, summed with compensation: exact to a few units in the last place. */
function naive(row: Float32Array): number[] {
  const max = Math.max(...row);
  let sum = 0;
  let lost = 0;
  for (const term of Array.from(row, (v) => Math.exp(v - max)).sort((a, b) => a - b)) {
    const next = sum + term;
    lost += sum >= term ? sum - next + term : term - next + sum;
    sum = next;
  }
  return Array.from(row, (v) => v - max - Math.log(sum + lost));
}

test("log-softmax of the token and of the likeliest, in the room's order", () => {
  fc.assert(
    fc.property(
      rows,
      fc.nat(),
      fc.integer({ min: -1, max: 800 }),
      fc.constantFrom(...everyScan),
      (row, at, count, scans) => {
        const id = at % row.length;
        const { logprob, top, id: same } = topLogprobs(row, id, count, scans);
        const expected = naive(row);
        // 514 roundings of the sum (relative), one of the logarithm and two of the differences (of values up to 2e4).
        const near = (a: number, b: number): void =>
          assert.ok(Math.abs(a - b) <= 514 * 2 ** -53 + 4 * 2 ** -53 * Math.abs(b), `${a} / ${b}`);
        assert.equal(same, id);
        near(logprob, expected[id]!);
        const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, Math.max(0, count));
        assert.deepEqual(
          top.map((t) => t.id),
          order,
        );
        for (const t of top) near(t.logprob, expected[t.id]!);
      },
    ),
  );
});

test("probabilities of all tokens sum to one", () => {
  const row = Float32Array.from({ length: 5000 }, (_, i) => 8 * Math.sin(i * 12.9898));
  const sum = topLogprobs(row, 0, row.length).top.reduce((a, t) => a + Math.exp(t.logprob), 0);
  assert.ok(Math.abs(sum - 1) < 5000 * 2 ** -52);
});

test("a logit that is no number or +Infinity is an error; -Infinity is the probability 0", () => {
  const { logprob, top } = topLogprobs(Float32Array.of(0, -Infinity, 0), 1, 3);
  assert.equal(logprob, -Infinity);
  assert.deepEqual(
    top.map((t) => t.logprob.toFixed(3)),
    ["-0.693", "-0.693", "-Infinity"],
  );
  for (const bad of [Number.NaN, Infinity]) {
    assert.throws(() => topLogprobs(Float32Array.of(0, bad, 1), 0, 0), { code: "MODEL_INVALID", message: /token 1/ });
  }
});
