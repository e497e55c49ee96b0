/**
 * ONNX models, hand-built: MatMulNBits gives the bits of the same codes packed by compressed-tensors, plain products
 * those of their transposes; what cannot be run in place is refused by name.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import type { HundredweightError } from "../../src/errors.js";
import { meanKl } from "../support/evaluate.js";
import { logitsOf } from "../support/logits-of.js";
import { type Entry, entriesOf, readFixture, safetensorsBytes, writeFolder } from "./folder.js";
import { packQuantized } from "./quantize.js";

const fixture = readFixture("llama");

// --- protocol buffers

function varint(value: number): Buffer {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest]);
    out.push((rest % 128) + 128);
  }
}
const number = (field: number, value: number) => Buffer.concat([varint(8 * field), varint(value)]);
const bytes = (field: number, value: Uint8Array | string) => {
  const own = Buffer.from(value as string);
  return Buffer.concat([varint(8 * field + 2), varint(own.length), own]);
};
const message = (field: number, ...parts: readonly Buffer[]) => bytes(field, Buffer.concat(parts));

const typeNumbers: Readonly<Record<string, number>> = { F32: 1, U8: 2, F16: 10, BF16: 16 };

interface Outside {
  readonly location: string;
  readonly offset: number;
}

/** @param outside where its bytes lie, if not here */
function initializer({ name, dtype, shape, bytes: raw }: Entry, outside?: Outside): Buffer {
  const pair = (key: string, value: string) => message(13, bytes(1, key), bytes(2, value));
  const place =
    outside === undefined
      ? [bytes(9, raw)]
      : [
          pair("location", outside.location),
          pair("offset", String(outside.offset)),
          pair("length", String(raw.length)),
          number(14, 1),
        ];
  return message(5, ...shape.map((size) => number(1, size)), number(2, typeNumbers[dtype]!), bytes(8, name), ...place);
}

function node(kind: string, name: string, inputs: readonly string[], attributes: Record<string, number> = {}): Buffer {
  const own = Object.entries(attributes).map(([key, value]) =>
    message(5, bytes(1, key), number(3, value), number(20, 2)),
  );
  return message(1, ...inputs.map((input) => bytes(1, input)), bytes(3, name), bytes(4, kind), ...own);
}

const modelFile = (...parts: readonly Buffer[]) => Buffer.concat([number(1, 8), message(7, ...parts)]);

// --- the model in it

type Way = "products" | 4 | 8;
const moduleOf = (name: string) => name.slice(0, -".weight".length);
const isProjection = (name: string) => name.endsWith("_proj.weight");

function transposed({ name, dtype, shape, bytes: own }: Entry): Entry {
  const [rows, cols] = shape as [number, number];
  const from = new Float32Array(own.buffer, own.byteOffset, rows * cols);
  const to = Float32Array.from({ length: rows * cols }, (_, i) => from[(i % rows) * cols + Math.floor(i / rows)]!);
  return { name, dtype, shape: [cols, rows], bytes: new Uint8Array(to.buffer) };
}

/** Offsets that compressed-tensors packs along rows [rows / 8 or 4, blocks], packed along the blocks of each row. */
function alongRows({ name, shape, bytes: words }: Entry, rows: number, bits: number): Entry {
  const [blocks, each] = [shape[1]!, 32 / bits];
  const view = new DataView(words.buffer, words.byteOffset, words.length);
  const wide = Math.ceil((blocks * bits) / 8);
  const out = new Uint8Array(rows * wide);
  for (let r = 0; r < rows; r++)
    for (let b = 0; b < blocks; b++) {
      const word = view.getUint32(4 * (Math.floor(r / each) * blocks + b), true);
      out[r * wide + Math.floor((b * bits) / 8)]! |=
        ((word >>> (bits * (r % each))) & (2 ** bits - 1)) << ((b * bits) % 8);
    }
  return { name, dtype: "U8", shape: [rows * wide], bytes: out };
}

interface Options {
  /** onnxruntime-genai's names instead of those of exports. */
  readonly genai?: boolean;
  /** Bytes in a second file. */
  readonly apart?: boolean;
  /** Offsets of blocks, as whole numbers packed along each row, or of the type of what is multiplied. */
  readonly zeros?: "codes" | "F32";
  readonly inputs?: readonly string[];
}

/** Writes the fixture as ONNX, and the same values as a plain folder.  @returns both paths */
function written(
  folder: string,
  way: Way,
  { genai = false, apart = false, zeros, inputs = [] }: Options = {},
): string[] {
  const [graph, plain]: [Buffer[], Entry[]] = [[], []];
  const data: Uint8Array[] = [];
  let at = 0;
  const add = (entry: Entry) => {
    graph.push(initializer(entry, apart ? { location: "model.onnx_data", offset: at } : undefined));
    data.push(entry.bytes);
    at += entry.bytes.length;
  };
  for (const entry of entriesOf(fixture)) {
    if (!isProjection(entry.name)) {
      plain.push(entry);
      const norm = genai && entry.name === "model.norm.weight";
      add(norm ? { ...entry, name: "model.layers.2.final_norm_layernorm.weight" } : entry);
      continue;
    }
    const module = genai ? moduleOf(entry.name).replace("self_attn", "attn") : moduleOf(entry.name);
    const path = `/${module.replaceAll(".", "/").replace(/layers\/(\d+)/, "layers.$1")}/MatMul`;
    if (way === "products") {
      plain.push(entry);
      add({ ...transposed(entry), name: `onnx::${entry.name}` });
      graph.push(node("MatMul", path, ["x", `onnx::${entry.name}`]));
      continue;
    }
    const [rows, cols] = entry.shape as [number, number];
    const values = new Float32Array(entry.bytes.buffer, entry.bytes.byteOffset, rows * cols);
    const matrix = { name: moduleOf(entry.name), rows, cols, values };
    const { entries } = packQuantized(matrix, way, 32, zeros === undefined);
    plain.push(...entries);
    const [words, scales] = entries as [Entry, Entry];
    add({ ...words, name: `${path}_Q`, dtype: "U8", shape: [rows, cols / 32, 4 * way] });
    add({ ...scales, name: `${path}_s`, shape: [(rows * cols) / 32] });
    if (zeros !== undefined) {
      const zero = { ...alongRows(entries[3]!, rows, way), name: `${path}_z` };
      const wide = new Uint8Array(4 * zero.bytes.length);
      add(zeros === "codes" ? zero : { ...zero, dtype: "F32", bytes: wide });
      inputs = [`${path}_z`];
    }
    graph.push(
      node("MatMulNBits", `${path}_Q${way}`, ["x", `${path}_Q`, `${path}_s`, ...inputs], {
        K: cols,
        N: rows,
        bits: way,
        block_size: 32,
      }),
    );
  }
  const name = `${way}-${genai}-${apart}-${zeros}-${inputs.length}`;
  const [onnx, packed] = [join(folder, name), join(folder, `${name} packed`)];
  for (const path of [onnx, packed]) mkdirSync(path);
  writeFileSync(join(onnx, "config.json"), JSON.stringify(fixture.config));
  writeFileSync(join(onnx, "model.onnx"), modelFile(...graph));
  if (apart) writeFileSync(join(onnx, "model.onnx_data"), Buffer.concat(data));
  const weights = { num_bits: way, type: "int", symmetric: zeros === undefined };
  const quantization_config = { quant_method: "compressed-tensors", config_groups: { group_0: { weights } } };
  writeFileSync(join(packed, "config.json"), JSON.stringify({ ...fixture.config, quantization_config }));
  writeFileSync(join(packed, "model.safetensors"), safetensorsBytes(plain));
  return [onnx, packed];
}

const logits = (path: string): Promise<Float32Array[]> => logitsOf(path, fixture.ids);

describe("ONNX", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-onnx-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const [way, options] of [
    [4, {}],
    [4, { genai: true, apart: true }],
    [8, { apart: true }],
    [4, { zeros: "codes", apart: true }],
    [8, { zeros: "codes" }],
  ] as const)
    test(`MatMulNBits of ${way} bits ${JSON.stringify(options)}: the bits of packed words`, async () => {
      const [onnx, packed] = written(folder, way, options) as [string, string];
      assert.equal((await openCheckpoint(onnx)).format, "onnx");
      const expected = await logits(packed);
      assert.deepEqual(await logits(onnx), expected);
      assert.deepEqual(await logits(join(onnx, "model.onnx")), expected);
    });

  test("plain products, which lie the other way round", async () => {
    const [onnx] = written(folder, "products", { apart: true }) as [string];
    const expected = await logits(writeFolder(join(folder, "upright"), fixture));
    const kl = meanKl(expected, await logits(onnx));
    // The same products, summed in the order of columns, beside a cache of F16.
    assert.ok(Math.abs(kl) < 1e-8, `KL ${kl}`);
  });

  const refusal = (message: RegExp, code: string) => (error: HundredweightError) => {
    assert.match(error.message, message);
    assert.equal(error.code, code);
    return true;
  };

  test("zero points that are no whole numbers, or missing, are refused by the name of the weight", async () => {
    const floats = written(folder, 4, { zeros: "F32" })[0]!;
    await assert.rejects(
      openCheckpoint(floats),
      refusal(/'model\.layers\.0\..+_proj' has zero_points of F32/, "FORMAT_UNSUPPORTED"),
    );
    const missing = written(folder, 4, { inputs: ["zeros"] })[0]!;
    await assert.rejects(openCheckpoint(missing), refusal(/_proj' has no zero_points 'zeros'/, "FORMAT_INVALID"));
  });

  const w: Entry = { name: "model.norm.weight", dtype: "F32", shape: [2], bytes: new Uint8Array(8) };
  const bad: [string, Buffer, RegExp, string][] = [
    ["a name upwards", modelFile(initializer(w, { location: "../x", offset: 0 })), /no plain name/, "FORMAT_INVALID"],
    ["a file that is missing", modelFile(initializer(w, { location: "x", offset: 0 })), /is missing/, "FILE_NOT_FOUND"],
    [
      "bytes behind the end",
      modelFile(initializer(w, { location: "model.onnx", offset: 999 })),
      /ends before/,
      "FORMAT_INVALID",
    ],
    ["a shape that is larger", modelFile(initializer({ ...w, shape: [3] })), /takes 12 bytes, not 8/, "FORMAT_INVALID"],
    ["an initializer twice", modelFile(initializer(w), initializer(w)), /twice/, "FORMAT_INVALID"],
    ["a message behind the end", Buffer.from([0x3a, 0xff, 0x7f, 1]), /behind the message/, "FORMAT_INVALID"],
    ["a number without an end", Buffer.alloc(30, 0xff), /more than ten bytes/, "FORMAT_INVALID"],
    ["a model without a graph", number(1, 8), /no ONNX model/, "FORMAT_UNKNOWN"],
    ["nothing", Buffer.alloc(0), /no ONNX model/, "FORMAT_UNKNOWN"],
  ];
  for (const [what, file, message, code] of bad)
    test(`refuses ${what}`, async () => {
      const path = join(folder, what);
      mkdirSync(path);
      writeFileSync(join(path, "config.json"), JSON.stringify(fixture.config));
      writeFileSync(join(path, "model.onnx"), file);
      await assert.rejects(openCheckpoint(path), refusal(message, code));
    });
});
