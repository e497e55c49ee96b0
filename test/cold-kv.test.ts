/** A KV cache larger than its memory: the bits of one that is all in memory, and what happens when the disk fails. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../src/containers/index.js";
import type { HundredweightError } from "../src/errors.js";
import { describeModel, estimateMemory } from "../src/models/index.js";
import { addonStatus } from "../src/native/addon.js";
import type { NativeAddon } from "../src/native/addon.types.js";
import { ColdPages } from "../src/ops/cold-pages.js";
import { createOps } from "../src/ops/index.js";
import type { KvCacheType } from "../src/ops/kv-form.js";
import { evaluate, openModel, randomTokens } from "./support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const status = addonStatus();
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-cold-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const tokens = 2100;
const ids = randomTokens(tokens, randomModelVocab, 7);

async function modelOf(arch: string, variant: string): Promise<string> {
  const path = join(folder, `${arch}-${variant}.gguf`);
  const types = { attention: "Q8_0", ffn: "Q8_0", expert: "Q8_0", embedding: "Q8_0", head: "Q8_0" };
  await writeRandomModel(path, { arch, variant, dims: 64, types, seed: 3 });
  return path;
}

interface Way {
  readonly threads: number;
  readonly chunk: number;
}

async function logitsOf(path: string, kvType: KvCacheType, { threads, chunk }: Way, cold: boolean) {
  const plain = { contextTokens: 2304, maxRows: chunk, sequences: 1, maxLogitRows: 64, kvType };
  const memory = cold ? { kvMemory: { bytes: "least", folder } as const } : {};
  if (cold) {
    const { kvBytes, coldBytes } = estimateMemory(
      describeModel(await openCheckpoint(path)),
      { ...plain, ...memory },
      1,
    );
    assert.ok(coldBytes > 0 && kvBytes > 0, "all of it is in memory");
  }
  const model = await openModel(path, createOps({ kind: "native", threads }), { ...plain, ...memory });
  try {
    return await evaluate(model, ids, chunk);
  } finally {
    model.close();
  }
}

for (const [arch, variant, kvType] of [
  ["llama", "dense", "f16"],
  ["llama", "dense", "q8_0:q4_0+h"],
  ["deepseek2", "v3", "q8_0"],
  ["qwen35", "dense", "f16:q8_0"],
] as const)
  test(`${arch} ${variant}, ${kvType}: pages on the disk, whatever has room in memory`, { skip }, async () => {
    const path = await modelOf(arch, variant);
    const expected = await logitsOf(path, kvType, { threads: 1, chunk: 300 }, false);
    // Two frames of nine pages; few rows take spans apart, many rows take heads apart.
    for (const way of [
      { threads: 1, chunk: 64 },
      { threads: 2, chunk: 200 },
      { threads: 3, chunk: 300 },
    ]) {
      const found = await logitsOf(path, kvType, way, true);
      for (const [t, row] of expected.entries())
        if (Buffer.compare(Buffer.from(row.buffer), Buffer.from(found[t]!.buffer)) !== 0)
          assert.fail(`${JSON.stringify(way)}: position ${t} is another`);
    }
  });

/** Files of the cache that this process has open. */
function openFiles(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes(".kv (deleted)");
    } catch {
      return false;
    }
  });
}

test("the file has no name, is its owner's alone, and a read that fails is an error", {
  skip: skip || (process.platform === "linux" ? false : "needs /proc"),
}, async () => {
  const path = await modelOf("llama", "dense");
  const own = join(folder, "own");
  const options = { contextTokens: 2304, maxRows: 64, kvMemory: { bytes: "least", folder: own } as const };
  const model = await openModel(path, createOps({ kind: "native", threads: 2 }), options);
  assert.deepEqual(readdirSync(own), []);
  assert.equal(statSync(own).mode & 0o777, 0o700);
  const files = openFiles();
  assert.ok(files.length > 0);
  for (const file of files) assert.equal(statSync(`/proc/self/fd/${file}`).mode & 0o777, 0o600);
  await evaluate(model, ids.slice(0, 1024), 64);
  truncateSync(`/proc/self/fd/${files[0]}`, 4096);
  // The last row once more: of the pages before it two are on the disk.
  const row = { count: 1, ids: Int32Array.of(0), positions: Int32Array.of(1023), sequences: Int32Array.of(0) };
  const blockTables = model.kvGroups.map(() => [Int32Array.of(0, 1, 2, 3)]);
  await assert.rejects(
    model.forward({ ...row, blockTables }, Int32Array.of(0), () => {}),
    { code: "MODEL_CHANGED" },
  );
  model.close();
  assert.deepEqual(openFiles(), []);
  assert.throws(
    () => createCold({ folder: join(path, "no-folder") }),
    (error: HundredweightError) => error.code === "FILE_IO" && /cannot be made/.test(error.message),
  );
});

/** Pages without a model, of two layers with one and two bytes. */
function createCold({ folder: at = folder, write }: { folder?: string; write?: () => number }) {
  const frames = new Map<number, Uint8Array>();
  const addon = {
    kvColdFile: () => {},
    kvFrame: (_model: number, _pool: number, page: number, wanted: boolean) =>
      wanted ? frames.set(page, new Uint8Array(3)) : frames.delete(page),
    unitRead: (_m: number, _p: number, page: number, offset: number, into: Uint8Array) =>
      into.set(frames.get(page)!.subarray(offset, offset + into.length)),
    unitWrite: (_m: number, _p: number, page: number, offset: number, bytes: Uint8Array) =>
      frames.get(page)!.set(bytes, offset),
    kvCopyPage: (_m: number, _p: number, from: number, to: number) => frames.get(to)!.set(frames.get(from)!),
  } as unknown as NativeAddon;
  const shape = { pages: 6, frames: 2, partBytes: [1, 2], every: 1, places: 8 };
  const pages = new ColdPages({ addon, model: 0, pool: 0, ...shape, folder: at, ...(write && { write }) });
  return { pages, frames };
}

const rowAt = (position: number) => ({
  count: 1,
  ids: Int32Array.of(0),
  positions: Int32Array.of(position),
  sequences: Int32Array.of(0),
  blockTables: [],
});

test("the oldest positions leave but the first; what is written again comes back", () => {
  const { pages, frames } = createCold({});
  const table = Int32Array.of(4, 2, 5, 0);
  for (const [block, page] of table.entries()) {
    pages.begin(rowAt(256 * block), table, 4);
    frames.get(page)!.fill(10 + page);
  }
  assert.deepEqual([...frames.keys()].sort(), [0, 4], "the first and the last");
  const bytes = new Uint8Array(3);
  for (const page of table) {
    pages.read(page, 0, bytes);
    assert.deepEqual([...bytes], [10 + page, 10 + page, 10 + page]);
  }
  // Rows after a rewind into the middle of a page that had left.
  pages.begin(rowAt(256 * 2 + 7), table.subarray(0, 3), 3);
  assert.deepEqual([...frames.get(5)!], [15, 15, 15]);
  // A page that begins anew needs nothing of what stood there.
  pages.copy(2, 3);
  assert.deepEqual([...frames.get(3)!], [12, 12, 12]);
  pages.close();
});

test("a full disk is an error that names the remedy, and nothing is lost", () => {
  let full = false;
  const write = (): number => {
    if (full) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    return 3;
  };
  const { pages, frames } = createCold({ write });
  const table = Int32Array.of(0, 1, 2);
  for (const block of [0, 1]) pages.begin(rowAt(256 * block), table, 3);
  full = true;
  assert.throws(() => pages.begin(rowAt(512), table, 3), /the disk is full \(ENOSPC\).*--kv-memory/);
  assert.deepEqual([...frames.keys()], [0, 1]);
  full = false;
  pages.begin(rowAt(512), table, 3);
  assert.deepEqual([...frames.keys()].sort(), [0, 2]);
  pages.close();
});
