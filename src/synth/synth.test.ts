import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../containers/index.js";
import { dequantizeRow, dtypes, storedBytes, TypedMetadata } from "../formats/index.js";
import { describeModel } from "../models/index.js";
import { createTokenizer } from "../tokenizer/index.js";
import { randomBlocks } from "./blocks.js";
import { parseSpec, presets } from "./presets.js";
import { fillNormals, seededNormals } from "./random.js";
import { popularities, rowFactors } from "./router.js";
import { layOutSynth, writeSynth } from "./synth.js";
import { RandomTensors } from "./values.js";
import { minVocab, syntheticVocabulary } from "./vocabulary.js";

describe("random blocks", () => {
  for (const dtype of dtypes.filter((d) => d.acts !== undefined))
    for (const deviation of [0.02, 0.0006])
      test(`${dtype.name}: finite, mean 0, deviation ${deviation}`, () => {
        const bytes = randomBlocks(dtype, 1 << 18, 0, deviation, 7);
        const values = new Float32Array((bytes.length / dtype.blockBytes) * dtype.blockValues);
        dequantizeRow(dtype, bytes, values);
        let [sum, squares] = [0, 0];
        for (const v of values) {
          assert.ok(Number.isFinite(v));
          sum += v;
          squares += v * v;
        }
        // Blocks are independent, values of one share scale and sign: the mean of n blocks of correlated values has
        // the deviation of a block's own mean / sqrt(n), at most deviation / sqrt(n); mean squares vary as much.
        const blocks = bytes.length / dtype.blockBytes;
        const mean = sum / values.length;
        assert.ok(Math.abs(mean) < (5 * deviation) / Math.sqrt(blocks), `mean ${mean}`);
        // Scales of the finest types are subnormal halves: rounding to steps of 2^-24 adds (2^-25)^2 / 3 a scale.
        const measured = Math.sqrt(squares / values.length);
        const tolerance = 5 / Math.sqrt(blocks) + 0.01;
        assert.ok(Math.abs(measured / deviation - 1) < tolerance, `deviation ${measured}`);
      });

  test("tensors repeat for a seed, differ by name and seed, and their rows differ", () => {
    const dtype = dtypes.find((d) => d.name === "Q4_K")!;
    const [row, rows] = [2 * 144, 4000];
    const make = (seed: number, name: string) => {
      const chunks = new RandomTensors(seed).bytes(name, dtype, { mean: 0, deviation: 1 }, row * rows, row, true);
      return Buffer.concat([...chunks].map((chunk) => chunk.slice()));
    };
    const a = make(1, "a");
    assert.equal(a.length, row * rows);
    assert.ok(a.equals(make(1, "a")));
    assert.ok(!a.equals(make(1, "b")));
    assert.ok(!a.equals(make(2, "a")));
    const distinct = new Set(Array.from({ length: rows }, (_, i) => a.toString("latin1", i * row, (i + 1) * row)));
    assert.equal(distinct.size, rows);
  });

  test("values that have to be below zero are the others with another sign, beside tensors of both signs", () => {
    const dtype = dtypes.find((d) => d.name === "F32")!;
    const random = new RandomTensors(1);
    const make = (negative: boolean): Float32Array => {
      const fill = { mean: -0.3, deviation: 0.2, negative };
      const [bytes] = random.bytes("a", dtype, fill, 1 << 16, 1 << 10, false);
      return new Float32Array(bytes!.slice().buffer);
    };
    const [plain, negative] = [make(false), make(true)];
    assert.ok(plain.some((value) => value > 0));
    assert.deepEqual(
      negative,
      plain.map((value) => -Math.abs(value)),
    );
  });
});

describe("router skew", () => {
  test("popularities fall, are capped and add up to topK", () => {
    for (const [experts, topK, skew] of [
      [128, 8, 1],
      [32, 4, 0.5],
      [128, 4, 2],
    ] as const) {
      const p = popularities(experts, topK, skew);
      assert.ok(Math.abs(p.reduce((a, b) => a + b, 0) - topK) < 1e-6);
      for (let r = 1; r < experts; r++) assert.ok(p[r]! <= p[r - 1]!);
      assert.ok(p[0]! <= 0.45);
    }
  });

  test("rows of these norms are chosen about as often as they should be", () => {
    const [experts, topK, skew, tokens] = [64, 6, 1, 4000];
    const factors = rowFactors(experts, topK, skew);
    const wanted = popularities(experts, topK, skew);
    const counts = new Float64Array(experts);
    const normal = seededNormals(3, "logits");
    for (let t = 0; t < tokens; t++) {
      const logits = factors.map((f) => f * normal());
      const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!);
      for (const e of order.slice(0, topK)) counts[e]! += 1 / tokens;
    }
    // The threshold of the top k moves from token to token, which flattens the ends a little.
    const top = (p: Float64Array, n: number) => p.slice(0, n).reduce((a, b) => a + b, 0) / topK;
    assert.ok(Math.abs(top(counts, 8) - top(wanted, 8)) < 0.05, `${top(counts, 8)} ${top(wanted, 8)}`);
    assert.ok(Math.abs(top(counts, 32) - top(wanted, 32)) < 0.05, `${top(counts, 32)} ${top(wanted, 32)}`);
    assert.ok(top(counts, 8) > (2.5 * 8) / experts);
  });

  test("flat, or too many chosen: all rows alike", () => {
    assert.deepEqual(rowFactors(16, 4, 0), new Float64Array(16).fill(1));
    assert.deepEqual(rowFactors(6, 3, 1), new Float64Array(6).fill(1));
  });
});

describe("synthetic vocabulary", () => {
  for (const [size, pre] of [
    [minVocab, "gpt-2"],
    [1000, "qwen2"],
    [151936, "llama-bpe"],
  ] as const)
    test(`${size} tokens: distinct, and any text survives`, () => {
      const metadata = new TypedMetadata(new Map(syntheticVocabulary(size, pre)));
      const tokens = metadata.strings("tokenizer.ggml.tokens")!;
      assert.equal(tokens.length, size);
      assert.equal(new Set(tokens).size, size);
      for (const merge of metadata.strings("tokenizer.ggml.merges")!) assert.equal(merge.split(" ").length, 2);
      const tokenizer = createTokenizer(metadata);
      for (const text of ["The hen saw the sea.\n", "zażółć 漢字 🙂\u0000", "bakelo bakelo"]) {
        assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
      }
      // "bakelo" is a word of three syllables, with and without a space before: reached by merges.
      if (size > 25000) assert.ok(tokenizer.encode("bakelo bakelo").length <= 4);
      assert.deepEqual([...tokenizer.encode("<|user|>", { parseSpecial: true })], [size - 2]);
    });
});

describe("synth", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-synth-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("specifications", () => {
    assert.equal(parseSpec("llama-70b").shape.metadata.block_count, 80);
    assert.equal(parseSpec("qwen2, layers=2,kv-heads=4").shape.metadata["attention.head_count_kv"], 4);
    assert.deepEqual(parseSpec("gpt-oss").shape, presets["gpt-oss-20b"]);
    const glm = parseSpec("glm-4.5-air,head-dim=64,leading_dense_block_count=2").shape.metadata;
    assert.equal(glm["rope.dimension_count"], 32, "half of each head turns, whatever its width");
    assert.equal(glm.leading_dense_block_count, 2);
    const gemma = (layers: number) => parseSpec(`gemma-4-26b-a4b,layers=${layers}`).shape.metadata;
    assert.deepEqual(gemma(7)["attention.head_count_kv"], [8, 8, 8, 8, 8, 2, 8]);
    assert.equal((gemma(32)["attention.sliding_window_pattern"] as number[]).length, 32);
    for (const wrong of ["nope", "llama,layers", "llama,width=3", "llama,layers=-1", "llama,toString=1"])
      assert.throws(() => parseSpec(wrong), { code: "OPTION_INVALID" });
    assert.throws(() => layOutSynth("x", parseSpec("llama,heads=7").shape), { code: "OPTION_INVALID" });
    assert.throws(() => layOutSynth("x", parseSpec("llama,layers=0").shape), { code: "OPTION_INVALID" });
    assert.throws(() => layOutSynth("x", parseSpec("llama,vocab=9").shape), { code: "OPTION_INVALID" });
  });

  test("the file holds what was laid out, and the same seed the same bytes", async () => {
    const { name, shape } = parseSpec(
      "qwen3moe,layers=2,dim=256,heads=4,kv-heads=2,expert-hidden=256,experts=8,top-k=2,vocab=600",
    );
    const model = layOutSynth(name, shape);
    const [a, b] = [join(folder, "a.gguf"), join(folder, "b.gguf")];
    const progress: number[] = [];
    const bytes = await writeSynth(a, model, { seed: 5, routerSkew: 1, onProgress: (done) => progress.push(done) });
    await writeSynth(b, model, { seed: 5, routerSkew: 1 });
    assert.equal(readFileSync(a).length, bytes);
    assert.ok(readFileSync(a).equals(readFileSync(b)));
    assert.equal(progress.length, model.tensors.length);
    const description = describeModel(await openCheckpoint(a));
    assert.deepEqual(description.unusedTensors, []);
    assert.deepEqual(
      description.tensors.map((t) => [t.name, t.info.layout.name, storedBytes(t.info.planes)]),
      model.tensors.map((t) => [t.name, t.dtype.name, t.bytes]),
    );
  });

  test("no room: refused before anything is written; full disk and cancellation leave nothing", async () => {
    const huge = layOutSynth("x", parseSpec("mistral-large-123b,layers=4000").shape, "F32");
    await assert.rejects(writeSynth(join(folder, "huge.gguf"), huge), (error: { code: string; message: string }) => {
      assert.equal(error.code, "FILE_IO");
      assert.match(error.message, /needs [\d.]+ GB, the disk has [\d.]+ GB free/);
      return true;
    });
    const small = layOutSynth("x", parseSpec("llama-1b,layers=1,vocab=600").shape);
    if (process.platform === "linux")
      await assert.rejects(writeSynth("/dev/full", small), { code: "FILE_IO", message: /the disk is full/ });
    const stop = new AbortController();
    const cancelled = writeSynth(join(folder, "c.gguf"), small, {
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    await assert.rejects(cancelled, { code: "CANCELLED" });
    await assert.rejects(writeSynth(join(folder, "no/such/folder.gguf"), small), { code: "FILE_IO" });
    assert.deepEqual(
      readdirSync(folder).filter((name) => !/^[ab]\.gguf$/.test(name)),
      [],
    );
  });
});

test("normal numbers that fill an array are those that are made one by one", () => {
  for (const [seed, name] of [
    [5, "blk.0.attn_q.weight"],
    [-1, ""],
  ] as const) {
    const values = new Float64Array(1000);
    fillNormals(seed, name, values.subarray(0, 300));
    fillNormals(seed, name, values.subarray(300), 300);
    const next = seededNormals(seed, name);
    assert.deepEqual(values, values.map(next));
  }
});
