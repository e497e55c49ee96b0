import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { HundredweightError } from "../errors.js";
import { loadAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import { defaultMachine } from "./machine.js";
import { knownMachine, probeMachine, rememberModel, restsOnGuesses } from "./probe.js";
import { cachePath, readCache, writeCache } from "./probe-cache.js";
import { type DiskWay, defaultWay, measureDisk, measureDiskOf, type ReadSample } from "./probe-disk.js";

const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), "hw-probe-"));
delete process.env.HUNDREDWEIGHT_PROBE;
let run = 0;
beforeEach(() => {
  process.env.XDG_CACHE_HOME = join(folder, `cache-${run++}`);
});
after(() => rmSync(folder, { recursive: true }));

/** A disk that needs `seconds(way)` for a byte; the clock is its own. */
function fakeDisk(rateOf: (way: DiskWay, call: number) => number, refusesDirect = false) {
  const reads: { way: DiskWay; offset: number; bytes: number }[] = [];
  let clock = 0;
  const sample: ReadSample = (way, offset, bytes) => {
    const rate = rateOf(way, reads.length);
    reads.push({ way, offset, bytes });
    clock += bytes / rate;
    return { rate, direct: way.mode === "direct" && !refusesDirect };
  };
  const total = () => reads.reduce((sum, { bytes }) => sum + bytes, 0);
  return { sample, reads, total, now: () => clock };
}

/** Like many virtual disks: small reads want company, large ones do not. */
const latency = ({ requestBytes, depth }: DiskWay) => Math.min(1, (requestBytes * depth) / (4 * MiB));

test("the fastest way and the rate of each size and depth are found, the first touch is apart; little is read", () => {
  const disk = fakeDisk((way, call) => {
    // The region is touched in four steps.
    if (call < 4) return 0.5e9;
    return 1e9 * (way.engine === "threads" ? 1.5 : 1) * latency(way) * (way.depth === 16 ? 1.3 : 1);
  });
  const found = measureDisk(disk.sample, 2 ** 33, true, 60, () => 0.5, disk.now);
  assert.deepEqual([found.mode, found.engine, found.depth, found.requestBytes], ["direct", "threads", 16, MiB / 4]);
  assert.ok(Math.abs(found.bytesPerSecond / (1.5 * 1.3 * 1e9) - 1) < 1e-9);
  assert.ok(Math.abs(found.firstTouchBytesPerSecond! / 0.5e9 - 1) < 1e-9);
  const table = found.table!;
  for (const [i, requestBytes] of table.requestBytes.entries())
    for (const [j, depth] of table.depths.entries()) {
      // More in flight than any ring holds is not tried: such cells get the rate of the one before.
      const tried = Math.min(depth, (32 * MiB) / requestBytes);
      const rate = 1.5e9 * Math.min(1, (requestBytes * tried) / (4 * MiB)) * (tried === 16 ? 1.3 : 1);
      assert.ok(Math.abs(table.bytesPerSecond[i]![j]! / rate - 1) < 1e-9, `${requestBytes} x ${depth}`);
    }
  assert.ok(disk.total() <= 1.25 * 2 ** 30, `${disk.total()} bytes`);
  for (const { offset, bytes } of disk.reads)
    assert.ok(offset >= 2 ** 32 - 64 * MiB && offset + bytes <= 2 ** 32 + 64 * MiB);
});

test("a plan knows the table, and one that is remembered is the same", () => {
  const { addon } = fakeAddon();
  const { profile, disk } = probeMachine({ path: folder, seconds: 2, addon });
  assert.ok(disk?.table !== undefined);
  assert.deepEqual(profile.diskTable, disk.table);
  assert.deepEqual(knownMachine({ path: folder }).profile.diskTable, disk.table);
});

test("a lucky round does not change the way, and equal ones keep the default", () => {
  const calls = new Map<string, number>();
  const noisy = fakeDisk((way) => {
    const key = JSON.stringify(way);
    const nth = (calls.get(key) ?? 0) + 1;
    calls.set(key, nth);
    return way.mode === "buffered" && nth % 2 === 0 ? 9e9 : 1e9;
  });
  const found = measureDisk(noisy.sample, 2 ** 30, true, 60, () => 0, noisy.now);
  assert.deepEqual({ ...defaultWay, ...found }, found);
  assert.equal(found.mode, "direct");
  assert.equal(found.depth, defaultWay.depth);
  assert.equal(found.requestBytes, defaultWay.requestBytes);
});

test("a file system that refuses direct reads is read buffered", () => {
  const disk = fakeDisk(() => 2e9, true);
  assert.equal(measureDisk(disk.sample, 2 ** 30, true, 60, () => 0, disk.now).mode, "buffered");
});

test("a slow disk costs no more time than asked for, and a little", () => {
  for (const rate of [2e6, 20e6, 200e6]) {
    const disk = fakeDisk(() => rate);
    const found = measureDisk(disk.sample, 2 ** 34, true, 1.5, () => 0, disk.now);
    assert.ok(Math.abs(found.bytesPerSecond / rate - 1) < 1e-9);
    // The first read cannot know how slow it will be, and the result is one more.
    assert.ok(disk.now() < 1.5 + (2 * 4 * MiB) / rate + (32 * MiB) / 200e6, `${rate}: ${disk.now()} s`);
  }
});

test("files smaller than a region are read within their bounds, and nothing was new in a file just written", () => {
  const disk = fakeDisk(() => 1e9);
  const bytes = 4096 * 5 + 17;
  const found = measureDisk(disk.sample, bytes, false, 1, () => 0.99, disk.now);
  assert.equal(found.firstTouchBytesPerSecond, undefined);
  for (const { offset, bytes: n } of disk.reads) assert.ok(offset >= 0 && offset + n <= bytes);
});

const cpu = {
  memoryReadBytesPerSecond: 3e10,
  loop: "plain",
  gemmOpsPerSecond: 1e11,
  computeRates: {
    products: { Q4_K: { opsPerSecond: 1e11, unpackRows: 5 } },
    attentionOpsPerSecond: 2e10,
    gateValuesPerSecond: 1e9,
  },
  measuredAt: "2026-01-02T03:04:05Z",
};
const disk = {
  ...defaultWay,
  bytesPerSecond: 2e9,
  firstTouchBytesPerSecond: 1e9,
  table: { requestBytes: [MiB], depths: [1, 8], bytesPerSecond: [[1e9, 2e9]] },
  measuredAt: "2026-01-02T03:04:05Z",
};

test("the cache keeps what it is given, merges, and leaves out what makes no sense", () => {
  const path = cachePath();
  assert.ok(path.startsWith(folder));
  assert.deepEqual(readCache(path), { cpus: {}, disks: {}, models: {} });
  assert.equal(writeCache(path, { cpus: { a: cpu } }), undefined);
  assert.equal(writeCache(path, { disks: { b: disk } }), undefined);
  assert.deepEqual(readCache(path), { cpus: { a: cpu }, disks: { b: disk }, models: {} });
  assert.deepEqual(readdirSync(join(path, "..")), ["probe.json"]);
  const broken = [
    { ...disk, bytesPerSecond: -1 },
    { ...disk, depth: 1000 },
    { ...disk, engine: "tape" },
    { ...disk, bytesPerSecond: "fast" },
    { ...disk, measuredAt: 7 },
    { ...disk, table: 7 },
    { ...disk, table: { ...disk.table, depths: [2, 1] } },
    { ...disk, table: { ...disk.table, bytesPerSecond: [[1e9]] } },
    { ...disk, table: { ...disk.table, bytesPerSecond: [[1e9, -1]] } },
    null,
    [],
  ];
  const disks = Object.fromEntries([["good", disk], ...broken.map((entry, i) => [`${i}`, entry] as const)]);
  writeFileSync(path, JSON.stringify({ version: 2, cpus: [], disks }));
  assert.deepEqual(readCache(path), { cpus: {}, disks: { good: disk }, models: {} });
});

test("a damaged cache, or one of another version, is none; one that cannot be written is no failure", () => {
  const path = cachePath();
  writeCache(path, { cpus: { a: cpu } });
  const whole = readFileSync(path, "utf8");
  for (const text of [
    "",
    "{",
    whole.slice(0, whole.length / 2),
    "null",
    "[]",
    "7",
    whole.replace('"version": 2', '"version": 3'),
    // Without a table of sizes and depths: measured again.
    whole.replace('"version": 2', '"version": 1'),
  ]) {
    writeFileSync(path, text);
    assert.deepEqual(readCache(path), { cpus: {}, disks: {}, models: {} }, text);
  }
  assert.equal(writeCache(path, { disks: { b: disk } }), undefined);
  assert.deepEqual(readCache(path).disks, { b: disk });
  const blocked = join(folder, "a-file");
  writeFileSync(blocked, "");
  assert.ok(writeCache(join(blocked, "probe.json"), { cpus: { a: cpu } })?.includes("a-file"));
});

test("the newest 64 disks are kept", () => {
  const path = cachePath();
  for (let i = 0; i < 70; i++)
    writeCache(path, { disks: { [i]: { ...disk, measuredAt: new Date(1e12 + i * 1000).toISOString() } } });
  const kept = Object.keys(readCache(path).disks).map(Number);
  assert.equal(kept.length, 64);
  assert.equal(Math.min(...kept), 6);
});

test("XDG_CACHE_HOME counts when it is absolute", () => {
  assert.equal(cachePath({ XDG_CACHE_HOME: "/x" }), "/x/hundredweight/probe.json");
  assert.match(cachePath({ XDG_CACHE_HOME: "x" }), /\/\.cache\/hundredweight\/probe\.json$/);
  assert.match(cachePath({}), /\/\.cache\/hundredweight\/probe\.json$/);
});

function fakeAddon() {
  const calls = { reads: 0, memory: 0, gemm: 0 };
  const addon = {
    readRate: (_: string, direct: boolean, ...rest: unknown[]) => {
      calls.reads++;
      const [, , , extents, out] = rest as [number, number, number, Float64Array, Float64Array];
      out.set([extents[1]! / 2e9, extents[1]!, direct ? 1 : 0]);
    },
    memoryRate: (_: number, __: number, ___: number, out: Float64Array) => {
      calls.memory++;
      out.set([1e10, 3e10, 2e10, 9e9, 9e9, 9e9, 2e9, 5e8]);
    },
    gemmRate: () => {
      calls.gemm++;
      return 2e11;
    },
    attentionRate: () => 5e10,
    gateRate: () => 2e9,
  } as unknown as NativeAddon;
  return { addon, calls };
}

test("what is measured is remembered by device and processor, and measured again only when asked", () => {
  const { addon, calls } = fakeAddon();
  const options = { path: folder, threads: 3, seconds: 0.2 };
  assert.equal(knownMachine(options).disk, undefined);
  const probed = probeMachine({ ...options, addon });
  assert.equal(Math.round(probed.profile.diskReadBytesPerSecond), 2e9);
  assert.equal(probed.profile.memoryReadBytesPerSecond, 3e10);
  assert.equal(probed.profile.gemmOpsPerSecond, 2e11);
  assert.deepEqual(probed.profile.computeRates?.products.Q4_K, { opsPerSecond: 2e11, unpackRows: 0 });
  assert.equal(probed.profile.computeRates?.attentionOpsPerSecond, 5e10);
  assert.equal(probed.profile.threads, 3);
  assert.equal(probed.cpu?.loop, "prefetch, 2 MiB pages");
  assert.deepEqual(probed.notes, []);
  const { reads } = calls;
  const known = knownMachine(options);
  assert.deepEqual([known.disk, known.cpu], [JSON.parse(JSON.stringify(probed.disk)), probed.cpu]);
  assert.equal(known.profile.diskReadBytesPerSecond, probed.disk?.bytesPerSecond);
  probeMachine({ ...options, addon });
  assert.deepEqual([calls.reads, calls.memory], [reads, 1]);
  assert.equal(knownMachine({ path: folder, threads: 4 }).cpu, undefined);
  probeMachine({ ...options, addon, refresh: true });
  assert.ok(calls.reads > reads && calls.memory === 2);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith(".hundredweight")),
    [],
  );
});

test("HUNDREDWEIGHT_PROBE=off forgets what is remembered", () => {
  const { addon } = fakeAddon();
  probeMachine({ path: folder, seconds: 0.2, addon });
  process.env.HUNDREDWEIGHT_PROBE = "off";
  try {
    const known = knownMachine({ path: folder });
    assert.deepEqual([known.disk, known.cpu], [undefined, undefined]);
    assert.equal(known.profile.diskReadBytesPerSecond, defaultMachine().diskReadBytesPerSecond);
  } finally {
    delete process.env.HUNDREDWEIGHT_PROBE;
  }
});

test("what cannot be measured stays a guess, with a note", () => {
  const { addon } = fakeAddon();
  const fails = {
    ...addon,
    memoryRate: () => {
      throw new HundredweightError("MEMORY_BUDGET", "no memory to measure with");
    },
  } as NativeAddon;
  const probed = probeMachine({ path: join(folder, "absent"), addon: fails });
  assert.equal(probed.notes.length, 2);
  assert.match(probed.notes.join(), /absent.*no memory to measure with/);
  assert.equal(probed.profile.memoryReadBytesPerSecond, defaultMachine().memoryReadBytesPerSecond);
  assert.ok(!existsSync(cachePath()));
});

const addon = loadAddon();
test("a real probe: rates of this machine, within its time", { skip: addon === undefined && "no addon" }, () => {
  assert.ok(addon);
  const own = join(folder, "models");
  mkdirSync(own);
  const model = join(own, "small.gguf");
  writeFileSync(model, new Uint8Array(5 * MiB).fill(7));
  const began = performance.now();
  const found = measureDiskOf(addon, model, 0.4);
  assert.ok(found.bytesPerSecond > 1e6 && found.bytesPerSecond < 1e12, `${found.bytesPerSecond}`);
  assert.deepEqual(readdirSync(own), ["small.gguf"]);
  const out = new Float64Array(8);
  addon.memoryRate(2, 64 * MiB, 0.4, out);
  for (const rate of out.subarray(0, 6)) assert.ok(rate > 1e7 && rate < 1e13, `${rate}`);
  assert.deepEqual([...out.subarray(6)], [64 * MiB, 16 * MiB]);
  for (const dtype of [0, 8, 12]) {
    for (const rows of [1, 16, 256]) {
      const rate = addon.gemmRate(2, dtype, rows, 0);
      assert.ok(rate > 1e6 && rate < 1e15, `${dtype}, ${rows} rows: ${rate}`);
    }
  }
  for (const rate of [addon.attentionRate(2, 0), addon.gateRate(2, 0)]) assert.ok(rate > 1e5 && rate < 1e15, `${rate}`);
  assert.ok(performance.now() - began < 20_000); // a probe that hangs, not a busy machine
});

test("the addon refuses what it cannot measure", { skip: addon === undefined && "no addon" }, () => {
  assert.ok(addon);
  const wrong = (call: () => void) => assert.throws(call, { code: "NATIVE_ARGUMENT" });
  wrong(() => addon.memoryRate(1, 1000, 1, new Float64Array(8)));
  wrong(() => addon.memoryRate(1, 2 ** 50, 1, new Float64Array(8)));
  wrong(() => addon.memoryRate(1, MiB, Number.NaN, new Float64Array(8)));
  wrong(() => addon.memoryRate(1, MiB, 1, new Float64Array(6)));
  wrong(() => void addon.gemmRate(1, 4, 16, 0));
  wrong(() => void addon.gemmRate(1, 12, 16, 100));
  wrong(() => void addon.gemmRate(1, 12, 0, 0));
  wrong(() => void addon.gemmRate(1, 12, 513, 0));
  wrong(() => void addon.attentionRate(1, 100));
  wrong(() => void addon.gateRate(1, Number.NaN));
  for (const threads of [0, -1, 100_000]) {
    assert.throws(() => addon.gemmRate(threads, 12, 16, 0), { code: "OPTION_INVALID" });
    assert.throws(() => addon.attentionRate(threads, 0), { code: "OPTION_INVALID" });
    assert.throws(() => addon.gateRate(threads, 0), { code: "OPTION_INVALID" });
  }
});

test("times rest on guesses until memory is measured, and the disk where it is read", () => {
  const measuredAt = "2026-03-04T05:06:07.000Z";
  const measured = { ...cpu, measuredAt };
  const disk = {
    mode: "direct",
    engine: "uring",
    depth: 8,
    requestBytes: 4096,
    bytesPerSecond: 1e9,
    firstTouchBytesPerSecond: undefined,
    measuredAt,
  } as const;
  const found = [
    restsOnGuesses({ cpu: undefined, disk }, false),
    restsOnGuesses({ cpu: measured, disk: undefined }, false),
    restsOnGuesses({ cpu: measured, disk: undefined }, true),
    restsOnGuesses({ cpu: measured, disk }, true),
  ];
  assert.deepEqual(found, [true, false, true, false]);
});

test("what a model's passes have shown is the next plan's rate, until the machine is measured again", () => {
  const path = join(folder, "model.bin");
  writeFileSync(path, "x");
  const rate = () => knownMachine({ path, threads: 2 }).profile.memoryReadBytesPerSecond;
  const guess = rate();
  rememberModel({ path, threads: 2 }, 3e9);
  assert.equal(rate(), guess, "a machine that nobody measured stays one of guesses");
  const addon = loadAddon();
  if (addon === undefined) return;
  const measure = () => probeMachine({ path, threads: 2, disk: false, refresh: true, seconds: 0.05, addon });
  const probed = measure().profile.memoryReadBytesPerSecond;
  assert.equal(rate(), probed);
  rememberModel({ path, threads: 2 }, 3e9);
  assert.equal(rate(), 3e9);
  assert.equal(knownMachine({ threads: 2 }).profile.memoryReadBytesPerSecond, probed, "no other file's");
  writeFileSync(path, "xy");
  assert.equal(rate(), probed, "nor another model's of that name");
  writeFileSync(path, "x");
  const again = measure().profile.memoryReadBytesPerSecond;
  assert.equal(rate(), again);
});
