/**
 * Folders whose matrices were quantized, as GGUF files: in a type that holds the same values every value is the same,
 * where there is none the matrix is refused by name, and `--inexact f32` loses nothing.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type ConvertOptions, convertModel } from "../../src/convert/index.js";
import { Sources, StoredMatrix } from "../../src/convert/stored-matrix.js";
import { openGguf } from "../../src/formats/gguf-open.js";
import { type Entry, readFixture, safetensorsBytes, storedBytes, valuesOf } from "../huggingface/folder.js";
import { awq, bnb4, fp8, gptq, llmInt8, packQuantized, type Quantized, type Values } from "../huggingface/quantize.js";
import { writeByteTokenizer } from "./fixture-folder.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-convert-quantized-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Its rows keep their order. */
const fixture = readFixture("qwen3");
const renamed: Readonly<Record<string, string>> = {
  "model.layers.0.self_attn.q_proj": "blk.0.attn_q.weight",
  "model.layers.1.mlp.down_proj": "blk.1.ffn_down.weight",
};

interface Case {
  readonly config: object;
  readonly quantize: (m: Values) => Quantized;
  /** The type that holds its values; undefined: none does. */
  readonly type: string | undefined;
  /** Roundings of the formula that ours does not share: of 1 / 127, and of its product with a scale. */
  readonly roundings?: number;
}

const gptqConfig = (bits: number, format = "gptq") => ({ quant_method: "gptq", bits, checkpoint_format: format });
const symmetric = (bits: number) => (m: Values) => gptq(m, { bits, group: 32, symmetric: true, format: 1 });

/** Multiples of 1/64 from -5 to 10 in every group: the scale is a power of two, and the offset 5. */
function onGrid({ values, ...rest }: Values): Values {
  return { ...rest, values: values.map((v, i) => (i % 32 < 2 ? (i % 32) * 15 - 5 : Math.round(4 * v) % 5) / 64) };
}

const packed = { quant_method: "compressed-tensors", format: "pack-quantized" };
const groups = (num_bits: number) => ({ config_groups: { g: { weights: { num_bits, type: "int" } } } });

const cases: Readonly<Record<string, Case>> = {
  "GPTQ 4 bits, symmetric": { config: gptqConfig(4), quantize: symmetric(4), type: "Q4_0" },
  "GPTQ 3 bits, symmetric": { config: gptqConfig(3), quantize: symmetric(3), type: "Q4_0" },
  "GPTQ 8 bits, symmetric": { config: gptqConfig(8), quantize: symmetric(8), type: "Q8_0" },
  "GPTQ 2 bits, with offsets": {
    config: gptqConfig(2),
    quantize: (m) => gptq(m, { bits: 2, group: 32, symmetric: false, format: 1 }),
    type: "Q4_0",
  },
  "GPTQ 4 bits, offsets on a grid": {
    config: gptqConfig(4, "gptq_v2"),
    quantize: (m) => gptq(onGrid(m), { bits: 4, group: 32, symmetric: false, format: 2 }),
    type: "Q4_1",
  },
  "AWQ, offsets on a grid": {
    config: { quant_method: "awq", bits: 4, version: "gemm" },
    quantize: (m) => awq(onGrid(m), 32),
    type: "Q4_1",
  },
  "pack-quantized 4 bits": {
    config: { ...packed, ...groups(4) },
    quantize: (m) => packQuantized(m, 4, 32, true),
    type: "Q4_0",
  },
  "pack-quantized 8 bits by rows": {
    config: { ...packed, ...groups(8) },
    quantize: (m) => packQuantized(m, 8, 0, true),
    type: "Q8_0",
  },
  "GPTQ 4 bits, any offsets": {
    config: gptqConfig(4),
    quantize: (m) => gptq(m, { bits: 4, group: 32, symmetric: false, format: 1 }),
    type: "Q5_0",
  },
  "GPTQ 4 bits in act-order": {
    config: gptqConfig(4),
    quantize: (m) => gptq(m, { bits: 4, group: 32, symmetric: true, format: 1, scatter: true }),
    type: undefined,
  },
  "LLM.int8()": { config: { quant_method: "bitsandbytes" }, quantize: llmInt8, type: undefined, roundings: 3 },
  "FP8 E4M3 in blocks": {
    config: { quant_method: "fp8", weight_block_size: [48, 32] },
    quantize: (m) => fp8(m, "e4m3", [48, 32]),
    type: undefined,
  },
  "NF4, nested": { config: { quant_method: "bitsandbytes" }, quantize: (m) => bnb4(m, "nf4", true), type: undefined },
};

/** Writes the folder; the values by GGUF's names. */
function write(name: string, { config, quantize }: Case): [path: string, values: Map<string, Float32Array>] {
  const at = join(folder, name);
  mkdirSync(at);
  const [entries, values]: [Entry[], Map<string, Float32Array>] = [[], new Map()];
  for (const [tensor, shape, mean, scale] of fixture.tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    const own = valuesOf(tensor, count, mean, scale);
    const to = renamed[tensor.replace(/\.weight$/, "")];
    if (to === undefined) {
      entries.push({ name: tensor, dtype: "BF16", shape, bytes: storedBytes(own, "BF16") });
      continue;
    }
    const [rows, cols] = shape as [number, number];
    const made = quantize({ name: tensor.slice(0, -".weight".length), rows, cols, values: own });
    entries.push(...made.entries);
    values.set(to, made.values);
  }
  writeFileSync(join(at, "config.json"), JSON.stringify({ ...fixture.config, quantization_config: config }));
  writeFileSync(join(at, "model.safetensors"), safetensorsBytes(entries));
  writeByteTokenizer(at, 96);
  return [at, values];
}

async function converted(
  path: string,
  values: ReadonlyMap<string, Float32Array>,
  roundings: number,
  options: ConvertOptions,
) {
  const out = `${path}.gguf`;
  await convertModel(path, out, options);
  const { tensors } = openGguf(out);
  const files = new Sources();
  const types = new Set<string>();
  for (const [name, expected] of values) {
    const matrix = new StoredMatrix(tensors.get(name)!, files);
    types.add(matrix.info.layout.name);
    const found = new Float32Array(expected.length);
    for (let row = 0; row < matrix.rows; row++)
      matrix.decode(
        matrix.read(0, row - (row % matrix.run)),
        row,
        found.subarray(row * matrix.cols, (row + 1) * matrix.cols),
      );
    // Zeros of either sign are the same value.
    assert.ok(
      found.every((value, i) => Math.abs(value - expected[i]!) <= roundings * 2 ** -24 * Math.abs(value)),
      name,
    );
  }
  files.close();
  // What was not quantized keeps its type, norms become F32.
  assert.equal(tensors.get("token_embd.weight")?.layout.name, "BF16");
  assert.equal(tensors.get("blk.0.attn_norm.weight")?.layout.name, "F32");
  return [...types];
}

for (const [name, each] of Object.entries(cases))
  test(`${name}: ${each.type === undefined ? "refused, or in F32" : `the same values in ${each.type}`}`, async () => {
    const [path, values] = write(name, each);
    if (each.type !== undefined) {
      assert.deepEqual(await converted(path, values, each.roundings ?? 0, {}), [each.type]);
      return;
    }
    await assert.rejects(convertModel(path, `${path}.gguf`), {
      code: "FORMAT_UNSUPPORTED",
      message: /blk\.\d\.(attn_q|ffn_down)\.weight.*--inexact/,
    });
    assert.deepEqual(await converted(path, values, each.roundings ?? 0, { inexact: "f32" }), ["F32"]);
  });
