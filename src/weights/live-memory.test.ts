import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveMemory } from "./live-memory.js";

const planned = { memoryBytesPerSecond: 40e9, passBytes: 4e9, computeSeconds: 0.1, readerSeconds: 0 };
const traffic = { diskBytes: 0, pinnedBytes: 4e9, stallMs: 0, expertHits: 0, expertMisses: 0 };

test("products that take twice the planned time halve the rate", () => {
  const live = new LiveMemory(planned);
  for (let i = 0; i < 3; i++) live.passed(1, traffic, 200);
  assert.equal(live.bytesPerSecond, undefined, "three passes are too few");
  live.passed(1, traffic, 200);
  assert.equal(live.bytesPerSecond, 20e9);
});

test("waiting for the disk is not computing, and a reader's share of the processors is not the memory's", () => {
  const live = new LiveMemory({ ...planned, readerSeconds: 0.05 });
  for (let i = 0; i < 6; i++) live.passed(1, { ...traffic, stallMs: 80 }, 240);
  // 160 ms of products, of which the reader took 50 ms * 2/3.
  assert.ok(Math.abs(live.bytesPerSecond! / ((40e9 * 0.1) / (0.16 - 0.1 / 3)) - 1) < 1e-9);
});

test("passes of several rows, small models and passes that mostly waited teach nothing", () => {
  const few = new LiveMemory({ ...planned, passBytes: 1e6 });
  const live = new LiveMemory(planned);
  for (let i = 0; i < 10; i++) {
    few.passed(1, traffic, 200);
    live.passed(2, traffic, 200);
    live.passed(1, { ...traffic, stallMs: 150 }, 200);
  }
  assert.equal(few.bytesPerSecond, undefined);
  assert.equal(live.bytesPerSecond, undefined);
});

test("the median of the last passes counts: one slow pass says nothing, a slow minute does", () => {
  const live = new LiveMemory(planned);
  for (let i = 0; i < 40; i++) live.passed(1, traffic, 100);
  live.passed(1, traffic, 10_000);
  assert.equal(live.bytesPerSecond, 40e9);
  for (let i = 0; i < 20; i++) live.passed(1, traffic, 160);
  assert.equal(live.bytesPerSecond, 25e9);
});
