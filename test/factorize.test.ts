/** Matrices become two factors, and the model says what their product would. */
import assert from "node:assert/strict";
import { closeSync, copyFileSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { calibrate } from "../src/compress/calibrate.js";
import { symmetricEigen } from "../src/compress/eigen.js";
import { factorsOf } from "../src/compress/factorize/factors.js";
import { InputMoments } from "../src/compress/factorize/input-moments.js";
import { factorizeModel } from "../src/compress/factorize/model.js";
import { type Moments, openMoments, writeMoments } from "../src/compress/moments.js";
import { timesRows, turned } from "../src/compress/ridge.js";
import { SourceFiles } from "../src/compress/source-files.js";
import { leadingDirections } from "../src/compress/subspace.js";
import { decodeRow, dtypeByName, type GgufCheckpoint, openGguf, writeGguf } from "../src/formats/index.js";
import { describeModel } from "../src/models/index.js";
import { logitsOf as adaptedLogits, openAdapted } from "./adapters/adapted.js";
import { skipAddon } from "./support/addon.js";
import { klOfLogs, logSoftmax, randomTokens } from "./support/evaluate.js";
import { logitsOf } from "./support/logits-of.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-factorize-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string): string => join(folder, `${name}.gguf`);

const types = { attention: "F32", ffn: "F32", embedding: "F32", head: "F32" };
const f32 = dtypeByName("F32")!;
const overrides = { block_count: 2 };
const tokens = randomTokens(40, randomModelVocab);

async function valuesOf({ tensors }: GgufCheckpoint, name: string): Promise<Float32Array> {
  const { layout, shape, planes } = tensors.get(name)!;
  const [cols = 1, rows = 1] = shape;
  const files = new SourceFiles();
  const bytes = new Uint8Array(planes.blocks![0]!.bytes);
  await files.read(planes.blocks![0]!.file, planes.blocks![0]!.offset, bytes);
  await files.close();
  const values = new Float32Array(cols * rows);
  for (let row = 0; row < rows; row++)
    decodeRow(layout, [bytes], rows, row, values.subarray(row * cols, (row + 1) * cols));
  return values;
}

/** Replaces the F32 values of matrices where they lie. */
function overwrite(path: string, changed: ReadonlyMap<string, Float32Array>): void {
  const handle = openSync(path, "r+");
  for (const [name, values] of changed) {
    const { offset, bytes } = openGguf(path).tensors.get(name)!.planes.blocks![0]!;
    writeSync(handle, new Uint8Array(values.buffer), 0, bytes, offset);
  }
  closeSync(handle);
}

/** tr((W - BA) H (W - BA)') */
function error(values: Float32Array, cols: number, rank: number, h: InputMoments, by?: InputMoments): number {
  const { first, second } = factorsOf(values, cols, rank, by);
  const product = timesRows(turned(first, cols), rank, second);
  const off = values.map((value, i) => value - product[i]!);
  const weighed = h.times(off);
  return off.reduce((sum, value, i) => sum + value * weighed[i]!, 0);
}

describe("factors", { skip: skipAddon }, () => {
  test("eigenvectors are at right angles and stay in their direction", () => {
    for (const [n, spread] of [
      [1, 1],
      [2, 1],
      [5, 0],
      [40, 0.7],
      [63, 1],
    ] as const) {
      const a = new Float64Array(n * n);
      for (let i = 0; i < n; i++)
        for (let j = 0; j <= i; j++) a[i * n + j] = Math.sin(i * 31 + j * j + 1) * spread ** (i + j);
      const { values, vectors } = symmetricEigen(a, n);
      const at = (i: number, j: number) => a[Math.max(i, j) * n + Math.min(i, j)]!;
      for (let k = 0; k < n; k++) {
        const v = vectors.subarray(k * n, (k + 1) * n);
        assert.ok(k === 0 || values[k]! <= values[k - 1]!);
        for (let i = 0; i < n; i++) {
          const turnedTo = v.reduce((sum, value, j) => sum + at(i, j) * value, 0);
          assert.ok(Math.abs(turnedTo - values[k]! * v[i]!) < 1e-12 * n, `${n}: value ${k}`);
        }
        for (let l = 0; l < n; l++) {
          const product = v.reduce((sum, value, j) => sum + value * vectors[l * n + j]!, 0);
          assert.ok(Math.abs(product - (k === l ? 1 : 0)) < 1e-13 * n, `${n}: ${k} ${l}`);
        }
      }
    }
    assert.throws(() => symmetricEigen(Float64Array.of(Number.NaN), 1), { code: "MODEL_INVALID" });
  });

  test("the directions that are found hold all but two thousandths of what the best hold", () => {
    const n = 160;
    const base = Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * i * 0.7 + i) * 0.99 ** (i % n));
    const square = timesRows(base, n, base);
    const { values } = symmetricEigen(Float64Array.from(square), n);
    for (const count of [1, 24, 150]) {
      const found = leadingDirections((block) => timesRows(square, n, block), n, count);
      const sum = (all: Float64Array) => all.slice(0, count).reduce((total, value) => total + value, 0);
      assert.ok(sum(found.values) > 0.998 * sum(values), `${count}: ${sum(found.values)} of ${sum(values)}`);
      const products = timesRows(found.rows, n, found.rows);
      for (const [i, value] of products.entries())
        assert.ok(Math.abs(value - (i % (count + 1) === 0 ? 1 : 0)) < 1e-5, `${count}: row ${i}`);
    }
  });

  test("with moments outputs err no more than with the plain SVD of that rank, and factors run as pairs", async () => {
    const path = file("whole");
    await writeRandomModel(path, {
      arch: "llama",
      variant: "dense",
      dims: 64,
      types,
      seed: 5,
      overrides,
    });
    const checkpoint = openGguf(path);
    const chunks = Array.from({ length: 6 }, (_, i) => Int32Array.from(randomTokens(48, randomModelVocab, i)));
    const summed = await calibrate(describeModel(checkpoint), chunks, { chunkTokens: 48, momentBytes: 2 ** 26 });
    await writeMoments(file("moments"), summed.moments!, summed);
    const moments: Moments = openMoments(file("moments"));
    for (const name of ["blk.0.ffn_down.weight", "blk.1.attn_q.weight", "blk.1.ffn_up.weight"]) {
      const values = await valuesOf(checkpoint, name);
      const h = new InputMoments(moments, moments.entries.get(name)!);
      for (const rank of [1, 8, 24]) {
        const cols = checkpoint.tensors.get(name)!.shape[0]!;
        const [own, plain] = [error(values, cols, rank, h, h), error(values, cols, rank, h)];
        assert.ok(own <= plain * (1 + 1e-6), `${name} of rank ${rank}: ${own} and ${plain}`);
        const { lost } = factorsOf(values, cols, rank, h);
        const whole = h.times(values).reduce((sum, value, i) => sum + value * values[i]!, 0);
        assert.ok(Math.abs(lost - own / whole) < 1e-4, `${name}: ${lost} said, ${own / whole} found`);
      }
    }

    const to = file("factors");
    const { matrices, bytes, kept } = await factorizeModel(checkpoint, to, { size: { rank: 24 }, moments });
    assert.ok(matrices.length === 14 && kept === 0 && bytes < checkpoint.files[0]!.bytes, `${matrices.length} ${kept}`);
    const written = openGguf(to);
    // The plan counts what there is.
    const { weightBytes, tensors } = describeModel(written);
    const planned = Object.values(weightBytes).reduce((sum, value) => sum + value, 0);
    assert.equal(
      planned,
      [...written.tensors.values()].reduce((sum, { planes }) => sum + planes.blocks![0]!.bytes, 0),
    );
    assert.ok(tensors.some(({ name }) => name === "blk.0.ffn_down.weight.lora_a"));

    // The same pairs as an adapter beside matrices of zeros, and matrices that are the products.
    const [zeros, products, adapter] = [file("zeros"), file("products"), file("adapter")];
    copyFileSync(path, zeros);
    copyFileSync(path, products);
    const pairs: { name: string; values: Float32Array; shape: readonly number[] }[] = [];
    const [empty, full] = [new Map<string, Float32Array>(), new Map<string, Float32Array>()];
    for (const { name, rank } of matrices) {
      const [cols, rows] = checkpoint.tensors.get(name)!.shape as [number, number];
      const [a, b] = [await valuesOf(written, `${name}.lora_a`), await valuesOf(written, `${name}.lora_b`)];
      pairs.push({ name: `${name}.lora_a`, values: a, shape: [cols, rank] });
      pairs.push({ name: `${name}.lora_b`, values: b, shape: [rank, rows] });
      empty.set(name, new Float32Array(cols * rows));
      full.set(name, timesRows(turned(a, cols), rank, b));
    }
    overwrite(zeros, empty);
    overwrite(products, full);
    await writeGguf(adapter, {
      metadata: [
        ["general.type", { type: "string", value: "adapter" }],
        ["general.architecture", { type: "string", value: "llama" }],
        ["adapter.type", { type: "string", value: "lora" }],
        ["adapter.lora.alpha", { type: "f32", value: 24 }],
      ],
      tensors: pairs.map(({ values, ...one }) => ({ ...one, dtype: f32, data: new Uint8Array(values.buffer) })),
    });
    const ours = await logitsOf(to, tokens);
    const beside = await openAdapted(zeros, [adapter]);
    const [theirs] = await adaptedLogits(beside, tokens, [[1]]);
    beside.close();
    assert.deepEqual(ours, theirs);
    const dense = await logitsOf(products, tokens);
    const kl = klOfLogs(ours.map(logSoftmax), dense.map(logSoftmax));
    assert.ok(kl < 1e-8, `${kl}`);
  });

  test("a size is kept, and what cannot be is refused by name", async () => {
    const path = file("sized");
    await writeRandomModel(path, { arch: "llama", variant: "dense", dims: 64, types, seed: 5, overrides });
    const checkpoint = openGguf(path);
    const whole = checkpoint.files[0]!.bytes;
    const most = Math.floor(0.95 * whole);
    const type = dtypeByName("Q8_0")!;
    const told = await factorizeModel(checkpoint, undefined, { size: { bytes: most } });
    const found = await factorizeModel(checkpoint, file("small"), { size: { bytes: most } });
    assert.ok(found.bytes <= most && found.bytes === told.bytes, `${found.bytes} of ${most}, ${told.bytes} told`);
    assert.equal((await factorizeModel(checkpoint, undefined, { size: { rank: 40 } })).kept, 4);
    assert.ok(found.matrices.every(({ rank, lost }) => rank % 32 === 0 && lost >= 0 && lost < 1));
    assert.equal((await logitsOf(file("small"), tokens)).length, tokens.length);
    const refuses = (options: Parameters<typeof factorizeModel>[2], message: RegExp, of = checkpoint) =>
      assert.rejects(factorizeModel(of, file("never"), options), { code: "OPTION_INVALID", message });
    await refuses({ size: { rank: 64 } }, /no matrix becomes smaller/);
    await refuses({ size: { rank: 16 }, type }, /whole blocks of Q8_0/);
    await refuses({ size: { bytes: 4096 } }, /least ranks/);
    await refuses({ size: { rank: 16 }, only: /token_embd/ }, /no matrix/);
    await refuses({ size: { rank: 16 }, only: /lora/ }, /no matrix/, openGguf(file("small")));
  });

  test("files with factors that do not fit, or where none may be, are refused", async () => {
    const path = file("small");
    const rewritten = async (change: (name: string, shape: readonly number[]) => [string, readonly number[]]) => {
      const { metadata, tensors } = openGguf(path);
      const to = file("damaged");
      await writeGguf(to, {
        metadata: metadata.entries(),
        tensors: [...tensors.values()].map(({ name, shape }) => {
          const [now, size] = change(name, shape);
          const bytes = 4 * size.reduce((product, n) => product * n, 1);
          return { name: now, dtype: f32, shape: size, data: new Uint8Array(bytes) };
        }),
      });
      return openGguf(to);
    };
    const narrow = await rewritten((name, shape) =>
      name === "blk.0.ffn_up.weight.lora_b" ? [name, [shape[0]! - 1, shape[1]!]] : [name, shape],
    );
    assert.throws(() => describeModel(narrow), { code: "MODEL_INVALID", message: /ffn_up.weight.lora_b' is \[/ });
    const half = await rewritten((name, shape) => [name.replace("ffn_up.weight.lora_b", "lost"), shape]);
    assert.throws(() => describeModel(half), { code: "MODEL_INVALID", message: /ffn_up.weight.lora_b' is missing/ });
    await writeRandomModel(path, { arch: "gemma3n", variant: "dense", dims: 64, types, seed: 5 });
    const table = await rewritten((name, shape) =>
      name === "per_layer_token_embd.weight" ? [`${name}.lora_a`, [shape[0]!, 4]] : [name, shape],
    );
    assert.throws(() => describeModel(table), { code: "FORMAT_UNSUPPORTED", message: /per_layer_.*needs it whole/ });
  });
});
