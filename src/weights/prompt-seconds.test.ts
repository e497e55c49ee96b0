import assert from "node:assert/strict";
import { test } from "node:test";
import { computeSeconds, scaled, seenPositions } from "./prompt-seconds.js";

test("rows see what is before them and themselves, at most a window of it", () => {
  assert.equal(seenPositions(3, 0, 0), 1 + 2 + 3);
  assert.equal(seenPositions(2, 10, 0), 11 + 12);
  for (const [rows, from, window] of [
    [5, 0, 3],
    [5, 2, 3],
    [5, 10, 3],
    [3, 0, 8],
  ] as const) {
    let seen = 0;
    for (let t = from; t < from + rows; t++) seen += Math.min(window, t + 1);
    assert.equal(seenPositions(rows, from, window), seen, `${rows} rows behind ${from}, window ${window}`);
  }
});

test("a pass takes what lies between those that were told, and attention besides", () => {
  const costs = {
    passes: [
      { rows: 1, seconds: 1 },
      { rows: 16, seconds: 4 },
      { rows: 256, seconds: 52 },
    ],
    attention: [
      { window: 0, seconds: 0.5 },
      { window: 2, seconds: 0.25 },
    ],
  };
  const plain = { ...costs, attention: [] };
  for (const [rows, seconds] of [
    [1, 1],
    [16, 4],
    [6, 2],
    [136, 28],
    [266, 54],
  ] as const)
    assert.equal(computeSeconds(plain, rows, 100), seconds, `${rows} rows`);
  assert.equal(computeSeconds(costs, 1, 3), 1 + 4 * 0.5 + 2 * 0.25);
  assert.equal(computeSeconds(scaled(costs, 3), 1, 3), 3 * 3.5);
  assert.equal(computeSeconds({ passes: [{ rows: 8, seconds: 2 }], attention: [] }, 16, 0), 4);
  assert.equal(computeSeconds({ passes: [{ rows: 8, seconds: 2 }], attention: [] }, 4, 0), 2);
});
