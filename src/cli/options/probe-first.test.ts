import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { loadAddon } from "../../native/addon.js";
import { cachePath } from "../../weights/probe-cache.js";
import { busyNote, probeLines, probeOnFirstUse } from "./probe-first.js";

const folder = mkdtempSync(join(tmpdir(), "hw-first-"));
/** No model, but as large as one: whoever opens it fails. */
const large = join(folder, "large.gguf");
writeFileSync(large, "none");
truncateSync(large, 2 ** 30);
const skip = loadAddon() === undefined && "no addon: nothing is ever measured";
let run = 0;
beforeEach(() => {
  delete process.env.HUNDREDWEIGHT_PROBE;
  process.env.XDG_CACHE_HOME = join(folder, `cache-${run++}`);
});
after(() => rmSync(folder, { recursive: true }));

test("a model that may not fit is looked at, unless probing is off or pointless", { skip }, async () => {
  await assert.rejects(probeOnFirstUse(large, { memory: 2 ** 30 }), /large\.gguf/);
  for (const flags of [{ probe: false }, { weightsMemory: 2 ** 20 }, { ops: "reference" }, { io: "mmap" }] as const)
    await probeOnFirstUse(large, { memory: 2 ** 30, ...flags });
  process.env.HUNDREDWEIGHT_PROBE = "off";
  await probeOnFirstUse(large, { memory: 2 ** 30 });
  assert.ok(!existsSync(cachePath()));
});

test("a model that is clearly smaller than memory is not even opened", { skip }, async () => {
  await probeOnFirstUse(large, { memory: 5 * 2 ** 30 });
  await probeOnFirstUse(join(folder, "absent.gguf"), {});
  assert.ok(!existsSync(cachePath()));
});

test("a busy machine is said", () => {
  assert.deepEqual(busyNote(4, 2), []);
  assert.match(busyNote(4, 9.25)[0] ?? "", /load 9\.[23], 4 threads/);
});

test("what was measured, in words", () => {
  const measuredAt = "2026-03-04T05:06:07.000Z";
  const computeRates = { products: {}, attentionOpsPerSecond: 1e11, gateValuesPerSecond: 1e9 };
  const lines = probeLines({
    profile: {
      memoryLimitBytes: 1,
      availableBytes: 1,
      memoryReadBytesPerSecond: 2.5e10,
      diskReadBytesPerSecond: 2e9,
      diskFirstTouchBytesPerSecond: 5e8,
      gemmOpsPerSecond: 2e11,
      threads: 2,
    },
    cpu: {
      memoryReadBytesPerSecond: 2.5e10,
      loop: "plain, 2 MiB pages",
      gemmOpsPerSecond: 2e11,
      computeRates,
      measuredAt,
    },
    disk: {
      mode: "direct",
      engine: "uring",
      depth: 8,
      requestBytes: 2 ** 22,
      bytesPerSecond: 2e9,
      firstTouchBytesPerSecond: 5e8,
      measuredAt,
    },
  });
  assert.deepEqual(lines, [
    "disk 2.00 GB/s, 0.50 GB/s the first time (direct, io_uring, 8 reads of 4 MiB in flight); measured on 2026-03-04",
    "memory 25.00 GB/s (plain, 2 MiB pages), products 200 GOP/s, 2 threads; measured on 2026-03-04",
  ]);
});
