import assert from "node:assert/strict";
import { test } from "node:test";
import { median, summarizeRates } from "./statistics.js";

test("the median of an even number of runs is the mean of the two in the middle, and the runs stay in order", () => {
  assert.equal(median([5, 1, 100]), 5);
  assert.equal(median([8, 1, 4, 2]), 3);
  assert.ok(Number.isNaN(median([])));
  const runs = [10, 2, 9];
  assert.deepEqual(summarizeRates(runs), { runs: [10, 2, 9], medianTps: 9, minTps: 2, maxTps: 10 });
});
