import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { uniform } from "../../src/compress/encode-cases.js";
import type { Importance } from "../../src/compress/importance.js";
import { parseMix } from "../../src/compress/mix.js";
import { momentTile, momentValues, openMoments, writeMoments } from "../../src/compress/moments.js";
import { planQuantize, type QuantizeWishes, shardPath } from "../../src/compress/quantize-model.js";
import { writeQuantized } from "../../src/convert/index.js";
import { toF16 } from "../../src/formats/float16.js";
import { type Dtype, dtypeByName, openGguf, storedBytes, type TypedValue, writeGguf } from "../../src/formats/index.js";
import { loadAddon } from "../../src/native/addon.js";

const folder = mkdtempSync(join(tmpdir(), "quantize-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const skip = loadAddon() === undefined ? "the addon is not built" : false;
const [f32, f16] = [dtypeByName("F32")!, dtypeByName("F16")!];

const next = uniform(3);
const halves = (count: number): Uint8Array =>
  new Uint8Array(Uint16Array.from({ length: count }, () => toF16((next() - 0.5) / 8)).buffer);
const floats = (count: number): Uint8Array => new Uint8Array(new Float32Array(count).fill(1).buffer);
const metadata = (more: readonly (readonly [string, TypedValue])[] = []): (readonly [string, TypedValue])[] => [
  ["general.architecture", { type: "string", value: "llama" }],
  ["general.file_type", { type: "u32", value: 1 }],
  ["llama.block_count", { type: "u32", value: 2 }],
  ["llama.attention.head_count", { type: "u32", value: 4 }],
  ...more,
];
const tensor = (name: string, dtype: Dtype, shape: readonly number[], data: Uint8Array) => ({
  name,
  dtype,
  shape,
  data,
});
const layer = (i: number) => [
  tensor(`blk.${i}.ffn_norm.weight`, f32, [512], floats(512)),
  tensor(`blk.${i}.attn_v.weight`, f16, [512, 24], halves(512 * 24)),
  // Rows of 160 values, and a stack of two matrices.
  tensor(`blk.${i}.attn_q.weight`, f16, [160, 16], halves(160 * 16)),
  tensor(`blk.${i}.ffn_down.weight`, f16, [512, 16, 2], halves(512 * 32)),
];
const table = [tensor("token_embd.weight", f16, [512, 40], halves(512 * 40))];

const path = join(folder, "model.gguf");
await writeGguf(path, { metadata: metadata(), tensors: [...layer(1), ...layer(0), ...table] });
const wish = (mix: string, more: Partial<QuantizeWishes> = {}): QuantizeWishes => ({ mix: parseMix(mix), ...more });
const importance: Importance = {
  path: "importance.gguf",
  columns: new Map([
    ["blk.0.attn_v.weight", Float32Array.from({ length: 512 }, next)],
    ["blk.0.ffn_down.weight", Float32Array.from({ length: 1024 }, next)],
  ]),
  datasets: ["text"],
  chunks: 5,
};

async function made(from: string, wishes: QuantizeWishes, threads = 1, name = "out.gguf"): Promise<Buffer> {
  const to = join(folder, name);
  await writeQuantized(to, planQuantize(openGguf(from), wishes), { threads });
  return readFileSync(to);
}

describe("quantized files", { skip }, () => {
  test("types, sizes and metadata are those of the plan; the same bytes for any number of threads", async () => {
    const plan = planQuantize(openGguf(path), wish("Q4_K_M", { importance }));
    const once = await made(path, wish("Q4_K_M", { importance }));
    for (const threads of [2, 5])
      assert.equal(Buffer.compare(await made(path, wish("Q4_K_M", { importance }), threads, "again.gguf"), once), 0);
    const file = openGguf(join(folder, "out.gguf"));
    assert.deepEqual(
      [...file.tensors.keys()],
      plan.tensors.map(({ tensor: t }) => t.name),
    );
    assert.equal([...file.tensors.keys()][0], "token_embd.weight");
    for (const {
      tensor: { name },
      to,
      bytes,
    } of plan.tensors) {
      const found = file.tensors.get(name)!;
      assert.deepEqual([found.layout.name, storedBytes(found.planes)], [to.name, bytes]);
    }
    assert.equal(file.tensorBytes, plan.bytes);
    assert.equal(file.tensors.get("blk.0.ffn_norm.weight")!.layout.name, "F32");
    assert.equal(file.tensors.get("blk.0.attn_q.weight")!.layout.name, "Q5_0");
    assert.equal(file.metadata.number("general.file_type"), 15);
    assert.equal(file.metadata.number("quantize.imatrix.entries_count"), 2);
    assert.equal(file.metadata.number("quantize.imatrix.chunks_count"), 5);
    assert.ok(plan.unweighed.includes("blk.1.attn_v.weight"));
  });

  test("matrices of a stack have their own importance", async () => {
    const stack = (columns: Float32Array) =>
      wish("Q4_K_S", { importance: { ...importance, columns: new Map([["blk.0.ffn_down.weight", columns]]) } });
    const bytesOf = async (columns: Float32Array) => {
      const out = await made(path, stack(columns));
      const { offset, bytes } = openGguf(join(folder, "out.gguf")).tensors.get("blk.0.ffn_down.weight")!.planes
        .blocks![0]!;
      return [out.subarray(offset, offset + bytes / 2), out.subarray(offset + bytes / 2, offset + bytes)] as const;
    };
    const columns = importance.columns.get("blk.0.ffn_down.weight")!;
    const [first, second] = await bytesOf(columns);
    const other = columns.slice().fill(1, 512);
    const [same, different] = await bytesOf(other);
    assert.equal(Buffer.compare(first, same), 0);
    assert.notEqual(Buffer.compare(second, different), 0);
    assert.throws(() => planQuantize(openGguf(path), stack(columns.subarray(1))), { code: "OPTION_INVALID" });
  });

  test("shards are kept or joined, and the tensors are the same", async () => {
    const shards = [layer(0), [...layer(1), ...table]];
    for (const [i, tensors] of shards.entries())
      await writeGguf(shardPath(join(folder, "split.gguf"), i, 2), {
        metadata: [
          ...(i === 0 ? metadata() : []),
          ["split.no", { type: "u16", value: i }],
          ["split.count", { type: "u16", value: 2 }],
          ["split.tensors.count", { type: "i32", value: 9 }],
        ],
        tensors,
      });
    const split = shardPath(join(folder, "split.gguf"), 0, 2);
    await made(split, wish("Q5_K_M"), 1, "joined.gguf");
    const to = join(folder, "kept.gguf");
    const written = await writeQuantized(to, planQuantize(openGguf(split), wish("Q5_K_M", { keepSplit: true })), {
      threads: 1,
    });
    assert.deepEqual(
      written.map((file) => file.path),
      [shardPath(to, 0, 2), shardPath(to, 1, 2)],
    );
    const [joined, kept] = [openGguf(join(folder, "joined.gguf")), openGguf(shardPath(to, 1, 2))];
    assert.equal(joined.metadata.number("split.count"), undefined);
    assert.equal(kept.files.length, 2);
    const bytesOf = (name: string, file: typeof kept) => {
      const { file: from, offset, bytes } = file.tensors.get(name)!.planes.blocks![0]!;
      return readFileSync(from).subarray(offset, offset + bytes);
    };
    for (const name of kept.tensors.keys())
      assert.equal(Buffer.compare(bytesOf(name, kept), bytesOf(name, joined)), 0, name);
  });

  test("what is quantized already is refused, unless it is asked for", async () => {
    await made(path, wish("Q8_0"), 1, "q8.gguf");
    const q8 = join(folder, "q8.gguf");
    assert.throws(() => planQuantize(openGguf(q8), wish("Q4_0")), { code: "OPTION_INVALID" });
    // Nothing changes: nothing is lost.
    assert.equal(Buffer.compare(await made(q8, wish("Q8_0")), readFileSync(q8)), 0);
    await made(q8, wish("Q4_0", { requantize: true }));
    assert.equal(openGguf(join(folder, "out.gguf")).tensors.get("blk.1.attn_v.weight")!.layout.name, "Q4_0");
    assert.deepEqual(planQuantize(openGguf(path), wish("IQ2_XS")).lacking.length > 0, true);
  });

  test("a value that is no number is named, and nothing is left", async () => {
    const data = halves(512 * 24);
    data.set([0, 0x7e], 2 * (7 * 512 + 3));
    const bad = join(folder, "bad.gguf");
    await writeGguf(bad, { metadata: metadata(), tensors: [tensor("blk.0.attn_v.weight", f16, [512, 24], data)] });
    const error = { code: "MODEL_INVALID", details: { tensor: "blk.0.attn_v.weight", row: 7, column: 3 } };
    await assert.rejects(made(bad, wish("Q4_K_M"), 2, "never.gguf"), error);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith("never")),
      [],
    );
  });

  test("with feedback a run goes on at its tensor, and the file is that of an undisturbed one", async () => {
    const moments = await momentsOf512();
    const wishes = wish("Q4_K_S", { importance, moments });
    const whole = await made(path, wishes, 1, "whole.gguf");
    assert.notEqual(Buffer.compare(whole, await made(path, wish("Q4_K_S", { importance }), 1, "stock.gguf")), 0);
    const to = join(folder, "stopped.gguf");
    for (const stopAt of ["blk.0.ffn_norm.weight", "blk.1.attn_v.weight"]) {
      const stop = new AbortController();
      const run = writeQuantized(to, planQuantize(openGguf(path), wishes), {
        threads: 2,
        signal: stop.signal,
        onProgress: ({ tensor: name, work, totalWork, bytes, totalBytes }) => {
          assert.ok(work <= totalWork && bytes <= totalBytes);
          if (name === stopAt) stop.abort();
        },
      });
      await assert.rejects(run, { code: "CANCELLED" });
      assert.equal(existsSync(to), false);
    }
    const seen = new Set<string>();
    const [file] = await writeQuantized(to, planQuantize(openGguf(path), wishes), {
      threads: 1,
      onProgress: ({ tensor: name }) => seen.add(name),
    });
    assert.ok(file!.resumedBytes > 0 && !seen.has("blk.0.attn_v.weight") && seen.has("blk.1.ffn_down.weight"));
    assert.equal(Buffer.compare(readFileSync(to), whole), 0);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith("stopped")),
      ["stopped.gguf"],
    );
  });

  test("less memory means narrower blocks of the same moments, and another file", async () => {
    const moments = await momentsOf512();
    const plan = planQuantize(openGguf(path), wish("Q4_K_S", { moments }));
    const use = plan.tensors.find(({ tensor: t }) => t.name === "blk.0.attn_v.weight")!.moments!;
    assert.equal(use.block, 512);
    const least = planQuantize(openGguf(path), wish("Q4_K_S", { moments, feedbackBytes: plan.feedbackBytes - 1 }));
    assert.ok(least.feedbackBytes < plan.feedbackBytes);
    const [wide, narrow] = [new Float32Array(momentValues(512)), new Float32Array(2 * momentValues(256))];
    moments.readInto(use.entry, 0, 512, wide);
    moments.readInto(use.entry, 0, 256, narrow);
    for (const [i, j] of [
      [0, 0],
      [3, 40],
      [255, 17],
      [256, 256],
      [300, 511],
      [480, 257],
    ] as const)
      assert.equal(
        momentIn(narrow.subarray(i < 256 ? 0 : momentValues(256)), 256, i % 256, j % 256),
        momentIn(wide, 512, i, j),
      );
    const files = [plan, least].map((_, k) => join(folder, `memory-${k}.gguf`));
    await writeQuantized(files[0]!, plan, { threads: 1 });
    await writeQuantized(files[1]!, least, { threads: 1 });
    const [a, b] = files.map((file) => readFileSync(file));
    assert.equal(a!.length, b!.length);
    assert.notEqual(Buffer.compare(a!, b!), 0);
  });
});

const momentIn = (sums: Float32Array, block: number, i: number, j: number): number => {
  const [a, b] = [Math.min(i, j), Math.max(i, j)];
  const [p, q, tiles] = [Math.floor(a / momentTile), Math.floor(b / momentTile), block / momentTile];
  const tile = p * tiles - (p * (p - 1)) / 2 + q - p;
  const [row, column] = p === q ? [i % momentTile, j % momentTile] : [a % momentTile, b % momentTile];
  return sums[(tile * momentTile + row) * momentTile + column]!;
};

/** Moments of what goes into the values of both layers: 512 columns that go together. */
async function momentsOf512() {
  const [cols, tokens] = [512, 600];
  const x = new Float32Array(tokens * cols);
  for (let t = 0; t < tokens; t++) {
    const hidden = Float32Array.from({ length: 8 }, () => next() - 0.5);
    for (let j = 0; j < cols; j++) x[t * cols + j] = hidden[j % 8]! + hidden[(j * 3) % 8]! + (next() - 0.5) / 4;
  }
  const sums = new Float32Array(momentValues(cols));
  loadAddon()!.addMoments(x, tokens, cols, cols, sums, 1, null);
  const to = join(folder, "test.moments.gguf");
  const tensors = new Set(["blk.0.attn_v.weight", "blk.1.attn_v.weight", "blk.0.ffn_down.weight"]);
  const input = { cols, block: cols, sums: [sums], rows: Float64Array.of(tokens), tensors };
  await writeMoments(to, new Map([["blk.0.attn_v.weight", input]]), { chunks: 1, chunkTokens: tokens });
  return openMoments(to);
}
