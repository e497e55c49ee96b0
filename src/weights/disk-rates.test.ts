import assert from "node:assert/strict";
import { test } from "node:test";
import { bestDepth, type DiskTable, diskRate } from "./disk-rates.js";

const KiB = 1024;
const MiB = 2 ** 20;
const table: DiskTable = {
  requestBytes: [256 * KiB, MiB, 4 * MiB],
  depths: [1, 4, 8],
  bytesPerSecond: [
    [0.4e9, 1.0e9, 1.6e9],
    [0.8e9, 1.8e9, 2.0e9],
    [1.6e9, 2.0e9, 1.9e9],
  ],
};
const near = (found: number, expected: number) => assert.ok(Math.abs(found / expected - 1) < 1e-9, `${found}`);

test("measured cells are found again, between them rates lie between, beyond them they hold", () => {
  const disk = { diskReadBytesPerSecond: 1.9e9, diskTable: table };
  for (const [i, bytes] of table.requestBytes.entries())
    for (const [j, depth] of table.depths.entries()) near(diskRate(disk, bytes, depth), table.bytesPerSecond[i]![j]!);
  near(diskRate(disk, 512 * KiB, 1), 0.6e9);
  near(diskRate(disk, 256 * KiB, 2), 0.7e9);
  near(diskRate(disk, 512 * KiB, 2), (0.7e9 + 1.3e9) / 2);
  near(diskRate(disk, 4 * KiB, 1), 0.4e9);
  near(diskRate(disk, 64 * MiB, 64), 1.9e9);
});

test("a table is shares of the rate of usual reads, so that a cell that is fast by chance slows no other", () => {
  const disk = { diskReadBytesPerSecond: 3.8e9, diskTable: table };
  near(diskRate(disk, 256 * KiB, 1), 0.8e9);
  near(diskRate(disk, 4 * MiB, 8), 3.8e9);
  // Faster by more than noise: the disk is read that way, and its rate was measured with it.
  const rows = table.bytesPerSecond.map((row) => [...row]);
  rows[1]![2] = 3e9;
  near(diskRate({ ...disk, diskTable: { ...table, bytesPerSecond: rows } }, MiB, 8), 3.8e9);
});

test("a disk nobody measured gets its rate with the usual reads, and less with little in flight", () => {
  const disk = { diskReadBytesPerSecond: 2e9 };
  near(diskRate(disk, 4 * MiB, 8), 2e9);
  const small = diskRate(disk, 256 * KiB, 3);
  assert.ok(small > 1.2e9 && small < 1.7e9, `${small}`);
  assert.ok(diskRate(disk, 256 * KiB, 1) < small && small < diskRate(disk, 256 * KiB, 12));
});

test("the depth is the least that is as good as any, and smaller reads take more", () => {
  const disk = { diskReadBytesPerSecond: 2e9, diskTable: table };
  assert.deepEqual(
    [256 * KiB, MiB, 4 * MiB].map((bytes) => bestDepth(disk, bytes, 63)),
    [8, 8, 4],
  );
  assert.equal(bestDepth(disk, 256 * KiB, 3), 3);
  assert.equal(bestDepth(disk, 4 * MiB, 1), 1);
  const unknown = { diskReadBytesPerSecond: 2e9 };
  assert.ok(bestDepth(unknown, 4 * MiB, 15) < bestDepth(unknown, 256 * KiB, 15));
});
