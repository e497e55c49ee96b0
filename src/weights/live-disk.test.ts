import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveDisk } from "./live-disk.js";

const expected = { diskBytesPerSecond: 2e9, streamedBytes: 1e9, computeSeconds: 0.1 };

/** Passes of 100 MB on a disk whose rate depends on the depth in use. */
function run(rateOf: (depth: number, pass: number) => number, passes: number, depth = 8, mostDepth = 32) {
  let inUse = depth;
  const used: number[] = [];
  const setDepth = (d: number) => {
    inUse = d;
    used.push(d);
  };
  const live = new LiveDisk({ depth, mostDepth, expected, setDepth });
  for (let pass = 0; pass < passes; pass++) {
    const elapsedMs = (1000 * 100e6) / rateOf(inUse, pass);
    const traffic = { diskBytes: 100e6, pinnedBytes: 0, stallMs: 0.5 * elapsedMs, expertHits: 0, expertMisses: 0 };
    live.passed(traffic, elapsedMs);
  }
  return { live, used };
}

test("the rate is that of passes that waited for the disk, and predictions follow it", () => {
  const live = new LiveDisk({ depth: 8, mostDepth: 16, expected, setDepth: () => {} });
  const pass = (diskBytes: number, stallMs: number) => ({
    diskBytes,
    stallMs,
    pinnedBytes: 0,
    expertHits: 0,
    expertMisses: 0,
  });
  assert.equal(live.status.secondsPerToken, 0.5);
  live.passed(pass(100e6, 1), 400); // compute decided
  live.passed(pass(1e6, 300), 400); // too little
  assert.equal(live.status.bytesPerSecond, undefined);
  live.passed(pass(400e6, 200), 400);
  assert.equal(live.status.bytesPerSecond, 1e9);
  assert.equal(live.status.secondsPerToken, 1);
  for (let i = 0; i < 40; i++) live.passed(pass(600e6, 200), 400);
  assert.ok(Math.abs(live.status.bytesPerSecond! / 1.5e9 - 1) < 0.01);
});

test("a disk that wants more in flight gets it, as far as the reader can", () => {
  const { live } = run((depth) => 0.1e9 * depth, 40);
  assert.equal(live.status.depth, 32);
});

test("a disk that is faster with less in flight gets less", () => {
  const { live } = run((depth) => 2e9 / depth, 40);
  assert.equal(live.status.depth, 1);
});

test("a depth as good as its neighbours stays, and the search ends", () => {
  const { live, used } = run(() => 1e9, 250);
  assert.equal(live.status.depth, 8);
  assert.deepEqual(used, [16, 4, 8]);
});

test("a disturbed pass decides nothing", () => {
  // Every third pass is slow, whatever the depth.
  const { live } = run((_, pass) => (pass % 3 === 1 ? 0.3e9 : 1e9), 60);
  assert.equal(live.status.depth, 8);
});
