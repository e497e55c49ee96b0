/**
 * Placement decides speed, never tokens: logits are the same bits for every weights memory, ring, I/O mode, thread
 * count and chunk. A file that changes ends the request; a cancelled pass leaves nothing behind.
 */
import assert from "node:assert/strict";
import { appendFileSync, copyFileSync, existsSync, mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { addon, skipAddon } from "../../test/support/addon.js";
import { Engine } from "../engine/engine.js";
import { openParts } from "../engine/open.js";
import type { EngineOptions } from "../engine/options.js";
import { StopSignal } from "../engine/stop-signal.js";
import { HundredweightError } from "../errors.js";
import { load } from "../library/model.js";
import type { Backend, WeightTraffic } from "../ops/ops.js";
import { packageRoot } from "../package-root.js";
import { makeTinyModel } from "../synth/tiny.js";

const mebibyte = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-residency-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Opened {
  /** Logits of the positions from `from` on, one array for all. Evaluates nothing before them that was there. */
  score(tokens: Int32Array, from: number): Promise<Float32Array>;
  /** The last one. */
  cancel(): void;
  readonly ops: Backend;
  readonly stop: StopSignal;
  readonly strategy: string;
  readonly io: string;
  traffic(): WeightTraffic;
  close(): Promise<void>;
}

async function open(path: string, options: EngineOptions): Promise<Opened> {
  const parts = await openParts(path, { contextTokens: 512, ...options });
  const { info, model } = parts;
  const stop = new StopSignal();
  const engine = new Engine(parts, stop);
  const ops = model.backend as Backend;
  const traffic = (): WeightTraffic => ops.traffic!();
  let jobs = 0;
  const score = async (tokens: Int32Array, from: number): Promise<Float32Array> => {
    const rows: Float32Array[] = [];
    await engine.submit(++jobs, { kind: "score", tokens, from, output: "logits" }, (event) => {
      if (event.kind === "logits") rows.push(event.values);
    });
    return joined(rows);
  };
  return {
    score,
    cancel: () => engine.cancel(jobs),
    ops,
    stop,
    ...info.residency,
    traffic,
    close: () => engine.close(),
  };
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((n, r) => n + r.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

const ids = (count: number, vocab: number) => Int32Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocab);

/** Logits of every position: a prefill in chunks, then single rows. */
async function logitsOf({ score }: Opened, tokens: Int32Array, single: number): Promise<Float32Array> {
  const rows = [await score(tokens.subarray(0, tokens.length - single), 0)];
  for (let i = tokens.length - single; i < tokens.length; i++) rows.push(await score(tokens.subarray(0, i + 1), i));
  return joined(rows);
}

const sameBits = (a: Float32Array, b: Float32Array) =>
  Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0 && a.length === b.length && a.length > 0;

/** Every `--io` mode and ring, a few threads and chunks, over the whole range of weights memory. */
async function sweep(path: string, vocab: number, shares: readonly number[], count: number): Promise<Set<string>> {
  const bytes = statSync(path).size;
  const tokens = ids(count, vocab);
  const mapped = await open(path, { io: "mmap", threads: 2 });
  const expected = await logitsOf(mapped, tokens, 3);
  await mapped.close();
  const strategies = new Set<string>();
  const ios = ["direct", "buffered", "auto"] as const;
  const rings = [1, 2, 1.5];
  for (const [i, share] of shares.entries()) {
    const ringBytes = rings[i % rings.length]! * mebibyte;
    const options: EngineOptions = {
      io: ios[i % ios.length]!,
      ringBytes,
      weightsMemoryBytes: Math.ceil(ringBytes + share * bytes),
      threads: 1 + (i % 3),
      chunkRows: [5, 64, 17, 1][i % 4]!,
    };
    const label = `${JSON.stringify(options)}, ${share} of the file`;
    const opened = await open(path, options);
    try {
      strategies.add(`${opened.strategy}/${opened.io}`);
      assert.ok(sameBits(await logitsOf(opened, tokens, 3), expected), label);
      assert.ok(sameBits(await logitsOf(opened, tokens, 3), expected), `${label}, again`);
      const { diskBytes, pinnedBytes, ringBytes: ring, slotBytes } = opened.traffic();
      assert.ok(pinnedBytes + ring + slotBytes <= options.weightsMemoryBytes! + edges || share > 1, label);
      if (opened.io !== "mmap") assert.ok(diskBytes > 0, label);
    } finally {
      await opened.close();
    }
  }
  return strategies;
}

/** Pinned rows bring the rest of their first and last page along; SmolLM2 has 211 matrices. */
const edges = 211 * 8192;
const shares = [1.1, 0.9, 0.6, 0.35, 0.15, 0, 0.02];

test("dense: the same bits for every memory, ring, thread count, chunk and I/O mode", { skip: skipAddon }, async () => {
  const variants: [string, Parameters<typeof makeTinyModel>[2]][] = [
    ["llama", { dtype: "Q4_K", dims: 256, overrides: { feed_forward_length: 2048 } }],
    [
      "qwen2",
      {
        dtype: { attention: "Q8_0", ffn: "Q5_0", head: "Q6_K", embedding: "Q4_0" },
        dims: 256,
        overrides: { feed_forward_length: 3072 },
      },
    ],
    ["gemma3", { dtype: "F16", overrides: { feed_forward_length: 3072 } }],
  ];
  for (const [arch, options] of variants) {
    const { path, vocab } = await makeTinyModel(join(folder, `${arch}.gguf`), arch, options);
    const strategies = await sweep(path, vocab, shares, 24);
    assert.deepEqual(
      [...strategies].sort().filter((s) => s.startsWith("streamed")),
      ["streamed/buffered", "streamed/direct"],
      arch,
    );
  }
});

test("experts: the same bits from slots of any number", { skip: skipAddon }, async () => {
  for (const [arch, dtype] of [
    ["qwen3moe", "Q4_K"],
    ["gpt-oss", "Q8_0"],
  ] as const) {
    const { path, vocab } = await makeTinyModel(join(folder, `${arch}.gguf`), arch, { dtype, dims: 256 });
    const found = await sweep(path, vocab, [1.1, 0.75, 0.6, 0.5, 0.45], 24).catch((error) => {
      throw new Error(`${arch}: ${error.message}`, { cause: error });
    });
    assert.ok(
      [...found].some((s) => s.startsWith("experts")),
      [...found].join(),
    );
  }
});

const smol = join(packageRoot(), ".models", "SmolLM2-135M-Instruct.Q4_1.gguf");
const noSmol = skipAddon || (existsSync(smol) ? false : `${smol} is missing: run node scripts/fetch-peer.mjs`);
if (noSmol && !skipAddon) console.error(`SKIPPED residency of SmolLM2: ${noSmol}`);

test("SmolLM2: the same bits at 80 and 15 % of the file", { skip: noSmol }, async () => {
  await sweep(smol, 49152, [0.8, 0.15], 12);
});

async function code(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
    return "none";
  } catch (error) {
    assert.ok(error instanceof HundredweightError, String(error));
    return error.code;
  }
}

test("a file that shrinks or is written to ends the request with MODEL_CHANGED", { skip: skipAddon }, async () => {
  const { path, vocab } = await makeTinyModel(join(folder, "changing.gguf"), "llama", { dtype: "Q8_0", dims: 256 });
  for (const io of ["mmap", "direct", "buffered"] as const)
    for (const change of ["shrink", "write"]) {
      const copy = join(folder, `changing-${io}-${change}.gguf`);
      copyFileSync(path, copy);
      const opened = await open(copy, { io, ringBytes: mebibyte, weightsMemoryBytes: 1.1 * mebibyte, threads: 2 });
      await opened.score(ids(10, vocab), 9);
      if (change === "shrink") truncateSync(copy, statSync(copy).size / 2);
      else appendFileSync(copy, "x");
      assert.equal(await code(() => opened.score(ids(11, vocab), 10)), "MODEL_CHANGED", `${io}, ${change}`);
      assert.equal(await code(() => opened.score(ids(11, vocab), 10)), "MODEL_CHANGED", `${io}, ${change}, again`);
      await opened.close();
    }
});

test("a mapped file that shrinks inside a product does not end the process", { skip: skipAddon }, () => {
  const path = join(folder, "shrinking.bin");
  const [rows, cols] = [4096, 256];
  appendFileSync(path, new Uint8Array(rows * cols * 4));
  const model = addon.modelOpen(3, null, 0, null);
  const weight = addon.weight(
    model,
    Float64Array.of(0),
    rows,
    cols,
    1,
    Float64Array.of(0, addon.fileOpen(model, path), 0, 4 * rows * cols),
  );
  const [x, out] = [addon.tensor(model, 1, cols), addon.tensor(model, 1, rows)];
  addon.seal(model);
  const product = () => addon.matmul(model, Int32Array.of(out, weight, 0, 0, 0, 1), x, 1);
  product();
  truncateSync(path, 4096 * 10);
  const changed = (error: unknown) => error instanceof HundredweightError && error.code === "MODEL_CHANGED";
  assert.throws(product, changed);
  assert.throws(() => addon.weightRead(model, weight, 0, rows - 1, 1, new Float32Array(cols)), changed);
  addon.modelClose(model);
});

test("weights are not read to the end when the opening is stopped", { skip: skipAddon }, async () => {
  const { path } = await makeTinyModel(join(folder, "stopped.gguf"), "llama", { dtype: "Q8_0", dims: 256 });
  for (const io of ["direct", "buffered"] as const)
    assert.equal(
      await code(() => openParts(path, { io, contextTokens: 512 }, undefined, Int32Array.of(1))),
      "none",
      "not shared",
    );
  const stop = new Int32Array(new SharedArrayBuffer(8));
  stop[0] = 1;
  for (const io of ["direct", "buffered"] as const)
    assert.equal(await code(() => openParts(path, { io, contextTokens: 512 }, undefined, stop)), "CANCELLED");
  const signal = AbortSignal.abort();
  assert.equal(await code(() => load(path, { io: "direct", contextTokens: 512, signal })), "CANCELLED");
});

test("experts are read before their router has spoken", { skip: skipAddon }, async () => {
  const overrides = { expert_feed_forward_length: 256, expert_count: 32 };
  const made = await makeTinyModel(join(folder, "ahead.gguf"), "qwen3moe", { dtype: "Q8_0", dims: 256, overrides });
  const { path, vocab } = made;
  const opened = await open(path, { io: "direct", ringBytes: mebibyte, weightsMemoryBytes: 8 * mebibyte });
  try {
    assert.equal(opened.strategy, "experts");
    for (const row of ids(40, vocab)) await opened.score(Int32Array.of(row), 0);
    const { expertMisses, expertsAhead } = opened.traffic();
    assert.ok(expertsAhead > 0 && expertsAhead <= expertMisses, `${expertsAhead} of ${expertMisses}`);
  } finally {
    await opened.close();
  }
});

test("a pass stopped anywhere is repeated with the same bits; a job cancelled there leaves the next one right", {
  skip: skipAddon,
}, async () => {
  for (const arch of ["llama", "qwen3moe"]) {
    const overrides = { feed_forward_length: 1024, expert_feed_forward_length: 256 };
    const file = join(folder, `cancel-${arch}.gguf`);
    const { path, vocab } = await makeTinyModel(file, arch, { dtype: "Q8_0", dims: 256, overrides });
    const options: EngineOptions = {
      io: "direct",
      ringBytes: mebibyte,
      weightsMemoryBytes: (arch === "llama" ? 1.5 : 3) * mebibyte,
      threads: 2,
    };
    const opened = await open(path, options);
    const tokens = ids(12, vocab);
    const expected = await logitsOf(opened, tokens, 2);
    assert.equal(opened.strategy, arch === "llama" ? "streamed" : "experts");
    const { ops, stop, score, cancel } = opened;
    const { matmul } = ops;
    for (let at = 1; at <= 9; at++) {
      let calls = 0;
      const label = `${arch}, stopped in product ${at}`;
      ops.matmul = (products, x, n) => {
        if (++calls === at) stop.stop();
        if (calls === at && at % 2 === 0) cancel();
        matmul.call(ops, products, x, n);
      };
      if (at % 2 === 0) assert.equal(await code(() => score(tokens, 0)), "CANCELLED");
      else assert.ok(sameBits(await score(tokens, 0), expected), label);
      ops.matmul = matmul;
      assert.ok(sameBits(await logitsOf(opened, tokens, 2), expected), `${label}, the next one`);
    }
    await opened.close();
  }
});
