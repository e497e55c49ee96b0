/** Folders in AWQ's form and in 8 bits: values by the forms' formulas, and outputs no worse than by plain rounding. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openMoments } from "../../src/compress/moments.js";
import { convertModel, type FolderQuantization, quantizeFolder } from "../../src/convert/index.js";
import { f16Table } from "../../src/formats/float16.js";
import { skipAddon } from "../support/addon.js";
import {
  type CalibratedFolder,
  calibratedFolder,
  distance,
  fullMoments,
  logitsOfFolder,
  readTensors,
  type StoredTensor,
} from "./calibrated-folder.js";

const floats = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer);
const halves = (bytes: Uint8Array) => Float32Array.from(new Uint16Array(bytes.slice().buffer), (h) => f16Table()[h]!);
const words = (bytes: Uint8Array) => new Uint32Array(bytes.slice().buffer);
const awqNibble = [0, 4, 1, 5, 2, 6, 3, 7];

/** W[o, i] = scales[g, o] (q - z), g = i / group: nibble k of a word is output (0 2 4 6 1 3 5 7)[k] of its eight. */
function awqValue(tensors: ReadonlyMap<string, StoredTensor>, module: string, group: number, o: number, i: number) {
  const [q, z, s] = ["qweight", "qzeros", "scales"].map((part) => tensors.get(`${module}.${part}`)!);
  const [wide, g, shift] = [q!.shape[1]!, Math.floor(i / group), 4 * awqNibble[o % 8]!];
  const code = (words(q!.bytes)[i * wide + (o >> 3)]! >>> shift) & 15;
  const zero = (words(z!.bytes)[g * wide + (o >> 3)]! >>> shift) & 15;
  return halves(s!.bytes)[g * s!.shape[1]! + o]! * (code - zero);
}

describe("AWQ and int8 folders", { skip: skipAddon }, () => {
  let folder = "";
  let made: CalibratedFolder;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-awq-"));
    made = await calibratedFolder(folder, "qwen3", "F32");
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** The folder, and the same in plain matrices. */
  const write = async (name: string, options: FolderQuantization) => {
    const to = join(folder, name);
    const done = await quantizeFolder(made.source, to, options);
    const plain = join(folder, `${name} plain`);
    await convertModel(to, join(plain, "model.safetensors"), { type: "f32" });
    return { to, plain, done, tensors: readTensors(join(to, "model.safetensors")) };
  };
  const plainOf = (path: string) => readTensors(join(path, "model.safetensors"));

  test("AWQ: the values of the formula, and scales that norms and rows take back", async () => {
    const moments = openMoments(made.moments);
    const { to, plain, tensors } = await write("awq", { method: "awq", group: 32, symmetric: false, moments });
    const said = JSON.parse(readFileSync(join(to, "config.json"), "utf8")).quantization_config;
    assert.deepEqual([said.quant_method, said.version, said.bits, said.group_size], ["awq", "gemm", 4, 32]);
    const values = plainOf(plain);
    const before = plainOf(made.source);
    for (const module of ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"]) {
      const { bytes, shape } = values.get(`${module}.weight`)!;
      const decoded = floats(bytes);
      for (let r = 0; r < shape[0]!; r += 9)
        for (let i = 0; i < shape[1]!; i++)
          assert.equal(decoded[r * shape[1]! + i]! + 0, awqValue(tensors, module, 32, r, i) + 0);
    }
    const norm = "model.layers.0.input_layernorm.weight";
    assert.notDeepEqual(values.get(norm)!.bytes, before.get(norm)!.bytes);
    assert.ok(distance(await logitsOfFolder(to, made.fixture), await logitsOfFolder(plain, made.fixture)) < 1e-3);
    // The same folds in 8 bits of GPTQ's form would be lossless: here they are at most as far off as rounding alone.
    const nearest = await write("nearest", {
      method: "gptq",
      bits: 4,
      group: 32,
      symmetric: false,
      descAct: false,
      damp: 0.01,
      trials: 1,
    });
    const wholeFirst = await logitsOfFolder(made.source, made.fixture);
    const [awq, rounded] = [
      distance(wholeFirst, await logitsOfFolder(plain, made.fixture)),
      distance(wholeFirst, await logitsOfFolder(nearest.plain, made.fixture)),
    ];
    assert.ok(awq < rounded, `${awq} ${rounded}`);
    // Layer by layer: what the matrix of the folder does to inputs that its norm has divided.
    const rounding = plainOf(nearest.plain);
    for (const [module, gguf, before2] of [
      ["model.layers.0.self_attn.q_proj", "blk.0.attn_q.weight", norm],
      ["model.layers.1.mlp.gate_proj", "blk.1.ffn_gate.weight", "model.layers.1.post_attention_layernorm.weight"],
    ] as const) {
      const [was, now] = [floats(before.get(before2)!.bytes), floats(values.get(before2)!.bytes)];
      const weight = floats(before.get(`${module}.weight`)!.bytes);
      const cols = was.length;
      const own = floats(values.get(`${module}.weight`)!.bytes).map((v, at) => (v * now[at % cols]!) / was[at % cols]!);
      const h = fullMoments(made.moments, gguf);
      const error = (other: Float32Array): number => {
        let sum = 0;
        for (let r = 0; r < weight.length / cols; r++)
          for (let i = 0; i < cols; i++)
            for (let j = 0; j < cols; j++)
              sum +=
                (other[r * cols + i]! - weight[r * cols + i]!) *
                h[i * cols + j]! *
                (other[r * cols + j]! - weight[r * cols + j]!);
        return sum;
      };
      const [a, b] = [error(own), error(floats(rounding.get(`${module}.weight`)!.bytes))];
      assert.ok(a <= b, `${module}: ${a} ${b}`);
    }
  });

  test("LLM.int8(): codes are 127ths of a row's largest value", async () => {
    const { to, tensors } = await write("llm", { method: "int8", per: "row", group: 0, symmetric: true });
    const before = plainOf(made.source);
    const name = "model.layers.0.mlp.down_proj";
    const weight = floats(before.get(`${name}.weight`)!.bytes);
    const [rows, cols] = before.get(`${name}.weight`)!.shape as [number, number];
    const codes = new Int8Array(tensors.get(`${name}.weight`)!.bytes);
    const scales = floats(tensors.get(`${name}.SCB`)!.bytes);
    assert.equal(tensors.get(`${name}.weight_format`)!.bytes.length, 1);
    for (let r = 0; r < rows; r++) {
      const own = weight.subarray(r * cols, (r + 1) * cols);
      assert.equal(scales[r], Math.max(...own.map(Math.abs)));
      for (let i = 0; i < cols; i++) assert.ok(Math.abs((own[i]! * 127) / scales[r]! - codes[r * cols + i]!) <= 0.5001);
    }
    const whole = await logitsOfFolder(made.source, made.fixture);
    assert.ok(distance(whole, await logitsOfFolder(to, made.fixture)) < 2e-3);
  });

  for (const per of ["tensor", "channel", "group"] as const)
    for (const symmetric of [true, false])
      test(`int8 by ${per}${symmetric ? "" : ", with zeros"}: every value within half a step`, async () => {
        const options = { method: "int8", per, group: 32, symmetric } as const;
        const { to, plain, tensors } = await write(`${per} ${symmetric}`, options);
        const before = plainOf(made.source);
        const name = "model.layers.1.self_attn.k_proj";
        const weight = floats(before.get(`${name}.weight`)!.bytes);
        const [rows, cols] = before.get(`${name}.weight`)!.shape as [number, number];
        const scales = halves(tensors.get(`${name}.weight_scale`)!.bytes);
        if (per === "tensor") assert.equal(new Set(scales).size, 1);
        assert.equal(tensors.has(`${name}.weight_zero_point`), !symmetric);
        const shape = new BigInt64Array(tensors.get(`${name}.weight_shape`)!.bytes.slice().buffer);
        assert.deepEqual([...shape], [BigInt(rows), BigInt(cols)]);
        const decoded = floats(plainOf(plain).get(`${name}.weight`)!.bytes);
        const groups = scales.length / rows;
        for (let at = 0; at < decoded.length; at++) {
          const scale = scales[Math.floor(at / cols) * groups + Math.floor(((at % cols) * groups) / cols)]!;
          // The scale is a half, and the ends of the range may be a rounding beyond it.
          assert.ok(
            Math.abs(decoded[at]! - weight[at]!) <= scale * 0.75,
            `${at}: ${decoded[at]} ${weight[at]} ${scale}`,
          );
        }
        const whole = await logitsOfFolder(made.source, made.fixture);
        assert.ok(distance(whole, await logitsOfFolder(to, made.fixture)) < 5e-3);
      });
});
