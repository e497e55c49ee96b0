import assert from "node:assert/strict";
import { test } from "node:test";
import { ratioInterval } from "../bench/support/pairs.js";

test("the interval of a median is that of the sign test", () => {
  const ratios = Array.from({ length: 20 }, (_, i) => i);
  // Of 20 values the 6th smallest and the 6th largest enclose the median with 95.9 %.
  assert.deepEqual(ratioInterval(ratios), { median: 9.5, low: 5, high: 14 });
  const few = ratioInterval([0.9, 1, 1.1]);
  assert.deepEqual(few, { median: 1, low: 0.9, high: 1.1 });
});
