/**
 * Folders whose matrices were quantized, run in place, beside the same folder with the values these stand for in F32.
 * Where activations stay f32 (FP8, NF4, FP4) the logits are the same bits; where they meet integers, near.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { bestOps } from "../differential/models/compare.js";
import { meanKl, openModel } from "../support/evaluate.js";
import { logitsOf } from "../support/logits-of.js";
import { type Entry, readFixture, safetensorsBytes, storedBytes, valuesOf } from "./folder.js";
import { awq, bnb4, fp8, gptq, llmInt8, packQuantized, type Quantized, type Values } from "./quantize.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-quantized-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const fixture = readFixture("llama");

interface Case {
  readonly config: object;
  readonly quantize: (m: Values) => Quantized;
  /** KL to the values in F32 at most; 0: the same bits. */
  readonly most: number;
}

const packedConfig = (bits: number, symmetric: boolean) => ({
  quant_method: "compressed-tensors",
  format: "pack-quantized",
  config_groups: { group_0: { targets: ["Linear"], weights: { num_bits: bits, type: "int", symmetric } } },
});
const gptqConfig = (bits: number, format: "gptq" | "gptq_v2", more = {}) => ({
  quant_method: "gptq",
  bits,
  group_size: 32,
  checkpoint_format: format,
  ...more,
});
/** Activations of 8 bits in blocks of 32 come to 3e-4 to 5e-4 here; one nibble in the wrong place to more than 0.1. */
const rounded = 1e-3;

const cases: Readonly<Record<string, Case>> = {
  "GPTQ 4 bits": {
    config: gptqConfig(4, "gptq"),
    quantize: (m) => gptq(m, { bits: 4, group: 32, symmetric: true, format: 1 }),
    most: rounded,
  },
  "GPTQ 4 bits, format 2, with offsets": {
    config: gptqConfig(4, "gptq_v2"),
    quantize: (m) => gptq(m, { bits: 4, group: 32, symmetric: false, format: 2 }),
    most: rounded,
  },
  "GPTQ 4 bits in act-order": {
    config: gptqConfig(4, "gptq", { desc_act: true }),
    quantize: (m) => gptq(m, { bits: 4, group: 32, symmetric: false, format: 1, scatter: true }),
    most: rounded,
  },
  "GPTQ 2 bits": {
    config: gptqConfig(2, "gptq"),
    quantize: (m) => gptq(m, { bits: 2, group: 32, symmetric: false, format: 1 }),
    most: rounded,
  },
  "GPTQ 3 bits": {
    config: gptqConfig(3, "gptq"),
    quantize: (m) => gptq(m, { bits: 3, group: 32, symmetric: false, format: 1 }),
    most: rounded,
  },
  "GPTQ 8 bits": {
    config: gptqConfig(8, "gptq"),
    quantize: (m) => gptq(m, { bits: 8, group: 32, symmetric: true, format: 1 }),
    most: rounded,
  },
  AWQ: {
    config: { quant_method: "awq", bits: 4, group_size: 32, version: "gemm", zero_point: true },
    quantize: (m) => awq(m, 32),
    most: rounded,
  },
  "pack-quantized 4 bits": {
    config: packedConfig(4, true),
    quantize: (m) => packQuantized(m, 4, 32, true),
    most: rounded,
  },
  "pack-quantized 4 bits with offsets": {
    config: packedConfig(4, false),
    quantize: (m) => packQuantized(m, 4, 32, false),
    most: rounded,
  },
  "pack-quantized 8 bits by rows": {
    config: packedConfig(8, true),
    quantize: (m) => packQuantized(m, 8, 0, true),
    most: rounded,
  },
  "LLM.int8()": { config: { quant_method: "bitsandbytes", load_in_8bit: true }, quantize: llmInt8, most: rounded },
  "FP8 E4M3 in blocks": {
    config: { quant_method: "fp8", weight_block_size: [48, 32] },
    quantize: (m) => fp8(m, "e4m3", [48, 32]),
    most: 0,
  },
  "FP8 E4M3 by rows": {
    config: { quant_method: "compressed-tensors", format: "float-quantized" },
    quantize: (m) => fp8(m, "e4m3", "row"),
    most: 0,
  },
  "FP8 E5M2, one scale": { config: { quant_method: "fp8" }, quantize: (m) => fp8(m, "e5m2", "tensor"), most: 0 },
  NF4: { config: { quant_method: "bitsandbytes" }, quantize: (m) => bnb4(m, "nf4", false), most: 0 },
  "NF4, nested": { config: { quant_method: "bitsandbytes" }, quantize: (m) => bnb4(m, "nf4", true), most: 0 },
  "FP4, nested": { config: { quant_method: "bitsandbytes" }, quantize: (m) => bnb4(m, "fp4", true), most: 0 },
};

function write(name: string, entries: readonly Entry[], quantization?: object): string {
  const at = join(folder, name);
  mkdirSync(at);
  const config = quantization === undefined ? fixture.config : { ...fixture.config, quantization_config: quantization };
  writeFileSync(join(at, "config.json"), JSON.stringify(config));
  writeFileSync(join(at, "model.safetensors"), safetensorsBytes(entries));
  return at;
}

/** Tensors of the quantized folder and of that of its values; only projections are quantized. */
function both(quantize: Case["quantize"]): [quantized: Entry[], plain: Entry[]] {
  const [quantized, plain]: [Entry[], Entry[]] = [[], []];
  for (const [name, shape, mean, scale] of fixture.tensors) {
    const values = valuesOf(
      name,
      shape.reduce((product, size) => product * size, 1),
      mean,
      scale,
    );
    const as = (of: Float32Array): Entry => ({ name, dtype: "F32", shape, bytes: storedBytes(of, "F32") });
    if (!name.endsWith("_proj.weight")) {
      quantized.push(as(values));
      plain.push(as(values));
      continue;
    }
    const [rows, cols] = shape as [number, number];
    const made = quantize({ name: name.slice(0, -".weight".length), rows, cols, values });
    quantized.push(...made.entries);
    plain.push(as(made.values));
  }
  return [quantized, plain];
}

const logits = (path: string): Promise<Float32Array[]> => logitsOf(path, fixture.ids);

for (const [name, { config, quantize, most }] of Object.entries(cases))
  test(`${name}: the logits of the values it stands for`, async (t) => {
    const [quantized, plain] = both(quantize);
    const [got, expected] = [
      await logits(write(name, quantized, config)),
      await logits(write(`${name} in F32`, plain)),
    ];
    if (most === 0) assert.deepEqual(got, expected);
    const kl = meanKl(expected, got);
    t.diagnostic(`KL ${kl.toExponential(2)}`);
    assert.ok(kl >= -1e-9 && kl <= most + 1e-9, `KL ${kl}`);
  });

test("the same codes, packed by GPTQ, AWQ and compressed-tensors, give the same bits", async () => {
  const names = ["GPTQ 4 bits, format 2, with offsets", "AWQ", "pack-quantized 4 bits with offsets"];
  const rows = await Promise.all(
    names.map((name) => logits(write(`${name} again`, both(cases[name]!.quantize)[0], cases[name]!.config))),
  );
  assert.deepEqual(rows[1], rows[0]);
  assert.deepEqual(rows[2], rows[0]);
});

test("tensors that do not fit each other are refused by name", async () => {
  const [quantized] = both(cases["GPTQ 4 bits"]!.quantize);
  const broken = (name: string, change: (entry: Entry) => Entry | undefined, config: object) =>
    write(
      name,
      quantized.flatMap((entry) => change(entry) ?? []),
      config,
    );
  const { config } = cases["GPTQ 4 bits"]!;
  const paths: [path: string, code: string][] = [
    [broken("no zeros", (e) => (e.name.endsWith("0.mlp.up_proj.qzeros") ? undefined : e), config), "MODEL_INVALID"],
    [broken("five bits", (e) => e, { ...config, bits: 5 }), "FORMAT_UNSUPPORTED"],
    [broken("other bits", (e) => e, { ...config, bits: 8 }), "MODEL_INVALID"],
    [broken("marlin", (e) => e, { ...config, checkpoint_format: "marlin" }), "FORMAT_UNSUPPORTED"],
  ];
  for (const [path, code] of paths) await assert.rejects(openModel(path, bestOps()), { code });
});

test("opening a folder reads of its weights no more than what says how they lie", {
  skip: process.platform !== "linux",
}, async () => {
  const { config, quantize } = cases["GPTQ 4 bits in act-order"]!;
  const [quantized] = both(quantize);
  const pad = { name: "model.unused.weight", dtype: "F32", shape: [2 ** 20], bytes: new Uint8Array(2 ** 22) };
  const path = write("wide", [...quantized, pad], config);
  const modules = quantized.filter(({ name }) => name.endsWith(".g_idx"));
  const read = (): number => Number(/^rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))![1]);
  const before = read();
  await openCheckpoint(path);
  const took = read() - before;
  const indices = modules.reduce((sum, { bytes }) => sum + bytes.length, 0);
  // A window of a mebibyte for the header, and the small files of the folder.
  assert.ok(took < 2 ** 21 + indices, `${took} bytes for ${modules.length} indices of ${indices} bytes together`);
});
