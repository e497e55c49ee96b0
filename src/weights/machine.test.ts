import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultMachine } from "./machine.js";

test("a guessed machine is within its limits, and what is known replaces guesses", () => {
  const { ceiling, diskTable, computeRates, ...guessed } = defaultMachine();
  assert.deepEqual([diskTable, computeRates], [undefined, undefined]);
  assert.equal(ceiling?.bytes, guessed.memoryLimitBytes);
  for (const value of Object.values(guessed)) assert.ok(Number.isFinite(value) && value > 0);
  assert.ok(guessed.availableBytes < guessed.memoryLimitBytes);
  assert.ok(guessed.diskFirstTouchBytesPerSecond <= guessed.diskReadBytesPerSecond);
  const known = defaultMachine({ threads: 3, diskReadBytesPerSecond: 5e9, availableBytes: 7 });
  assert.deepEqual([known.threads, known.availableBytes], [3, 7]);
  assert.equal(known.diskFirstTouchBytesPerSecond, 2.5e9);
  assert.equal(known.memoryReadBytesPerSecond, 30e9);
});
