/** Folders in GPTQ's form: their values are the form's formula, they run in place, and killed runs go on. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openMoments } from "../../src/compress/moments.js";
import { convertModel, quantizeFolder } from "../../src/convert/index.js";
import { f16Table } from "../../src/formats/float16.js";
import { writeSynthFolder } from "../../src/synth/folder/write.js";
import { parseSpec } from "../../src/synth/presets.js";
import { layOutSynth } from "../../src/synth/synth.js";
import { readFixture } from "../huggingface/folder.js";
import { skipAddon } from "../support/addon.js";
import { wholeSweeps } from "../support/sweeps.js";
import {
  type CalibratedFolder,
  calibratedFolder,
  distance,
  field,
  logitsOfFolder,
  readTensors,
  type StoredTensor,
} from "./calibrated-folder.js";
import { writeModelFolder } from "./fixture-folder.js";

const kills = wholeSweeps ? 10 : 2;

/** W[o, i] = scales[g, o] (q[i, o] - z[g, o]), g = g_idx[i]. Words run along inputs, those of zeros along outputs. */
function gptqValue(
  tensors: Map<string, StoredTensor>,
  module: string,
  bits: number,
  version: 1 | 2,
  o: number,
  i: number,
) {
  const [q, z, s, g] = ["qweight", "qzeros", "scales", "g_idx"].map((part) => tensors.get(`${module}.${part}`)!);
  const rows = s!.shape[1]!;
  const group = new DataView(g!.bytes.buffer, g!.bytes.byteOffset).getInt32(4 * i, true);
  // The words of one output, one after the other.
  const column = new Uint8Array((q!.shape[0]! * 4) | 0);
  for (let w = 0; w < q!.shape[0]!; w++)
    column.set(q!.bytes.subarray(4 * (w * rows + o), 4 * (w * rows + o) + 4), 4 * w);
  const zero = field(z!.bytes.subarray(4 * group * z!.shape[1]!), bits * o, bits) + (2 - version);
  const half = s!.bytes[2 * (group * rows + o)]! | (s!.bytes[2 * (group * rows + o) + 1]! << 8);
  return f16Table()[half]! * (field(column, bits * i, bits) - (zero & (2 ** bits - 1)));
}

describe("GPTQ folders", { skip: skipAddon }, () => {
  let folder = "";
  let made: CalibratedFolder;
  const options = { method: "gptq", bits: 4, group: 32, symmetric: true, descAct: false, damp: 0.01 } as const;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-gptq-"));
    made = await calibratedFolder(folder, "qwen3", "BF16");
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const [name, more] of Object.entries({
    "4 bits": {},
    "3 bits of whole rows, zeros": { bits: 3, group: 0, symmetric: false },
    "2 bits": { bits: 2, symmetric: false },
    "8 bits, act-order": { bits: 8, descAct: true },
    "4 bits, act-order": { descAct: true },
  } as const))
    test(`${name}: the values of the formula, which the folder runs with`, async () => {
      const o = { ...options, ...more };
      const to = join(folder, name);
      const fed: string[] = [];
      const { matrices } = await quantizeFolder(made.source, to, {
        ...o,
        moments: openMoments(made.moments),
        onMatrix: (matrix, error, had) => {
          assert.ok(error > 0 && Number.isFinite(error));
          if (had) fed.push(matrix);
        },
      });
      assert.equal(matrices, 7 * (made.fixture.config.num_hidden_layers as number));
      assert.equal(fed.length, matrices);
      const said = JSON.parse(readFileSync(join(to, "config.json"), "utf8")).quantization_config;
      assert.deepEqual(
        [said.quant_method, said.bits, said.group_size, said.sym, said.desc_act, said.checkpoint_format],
        ["gptq", o.bits, o.group || -1, o.symmetric, o.descAct, o.symmetric ? "gptq" : "gptq_v2"],
      );
      const tensors = readTensors(join(to, "model.safetensors"));
      const plain = join(folder, `${name} plain`);
      await convertModel(to, join(plain, "model.safetensors"), { type: "f32" });
      const values = readTensors(join(plain, "model.safetensors"));
      for (const module of ["model.layers.0.self_attn.o_proj", "model.layers.1.mlp.down_proj"]) {
        const { bytes, shape } = values.get(`${module}.weight`)!;
        const floats = new Float32Array(bytes.slice().buffer);
        for (let r = 0; r < shape[0]!; r += 7)
          for (let i = 0; i < shape[1]!; i++)
            assert.equal(
              floats[r * shape[1]! + i]! + 0,
              gptqValue(tensors, module, o.bits, o.symmetric ? 1 : 2, r, i) + 0,
            );
      }
      // The products take activations of 8 bits, so they are near, not equal.
      const logits = (path: string) => logitsOfFolder(path, made.fixture);
      const [inPlace, decoded] = [await logits(to), await logits(plain)];
      assert.ok(distance(inPlace, decoded) < 1e-3, `${distance(inPlace, decoded)}`);
      if (o.bits === 8) assert.ok(distance(inPlace, await logits(made.source)) < 1e-3);
    });

  test("one thread or three: the bytes of the same options", async () => {
    const write = async (name: string, more: object = {}) => {
      await quantizeFolder(made.source, join(folder, name), { ...options, ...more });
      return readFileSync(join(folder, name, "model.safetensors"));
    };
    const whole = await write("whole", { moments: openMoments(made.moments), threads: 1 });
    assert.ok(whole.equals(await write("threads", { moments: openMoments(made.moments), threads: 3 })));
    assert.ok(!whole.equals(await write("nearest")));
  });

  test(`killed ${kills} times: the bytes of a run that was not`, async () => {
    const { name, shape } = parseSpec(
      "llama-1b,layers=3,dim=512,hidden=1024,heads=8,kv-heads=4,head-dim=64,vocab=2048",
    );
    const source = join(folder, "large");
    await writeSynthFolder(source, layOutSynth(name, shape, "BF16"), "bf16");
    const gptq = { ...options, group: 64 };
    const { bytes } = await quantizeFolder(source, join(folder, "large whole"), gptq);
    const to = join(folder, "large killed");
    const child = fileURLToPath(new URL(`kill-quantize-child${import.meta.url.slice(-3)}`, import.meta.url));
    for (let kill = 1; kill <= kills; kill++) {
      const at = String(Math.floor((kill * bytes) / (kills + 1)));
      const { signal } = spawnSync(process.execPath, [...process.execArgv, child, source, to, at]);
      assert.equal(signal, "SIGKILL");
      assert.ok(!existsSync(join(to, "model.safetensors")));
    }
    const { resumedBytes } = await quantizeFolder(source, to, gptq);
    assert.ok(resumedBytes > bytes / 3, `${resumedBytes} of ${bytes}`);
    const [a, b] = [to, join(folder, "large whole")].map((at) => readFileSync(join(at, "model.safetensors")));
    assert.ok(a!.equals(b!));
  });

  test("experts are quantized one by one, the router stays", async () => {
    const moe = writeModelFolder(join(folder, "moe"), readFixture("mixtral"));
    const to = join(folder, "moe gptq");
    await quantizeFolder(moe, to, { ...options, group: 0 });
    const names = [...readTensors(join(to, "model.safetensors")).keys()];
    assert.ok(
      names.some((name) => /experts\.0\.w1\.qweight$/.test(name)),
      names.join(),
    );
    assert.ok(names.some((name) => /gate\.weight$/.test(name)) && !names.some((name) => /gate\.qweight$/.test(name)));
    const rows = await logitsOfFolder(to, readFixture("mixtral"));
    assert.ok(rows.every((row) => row.every(Number.isFinite)));
  });

  test("groups that rows do not divide into, and moments of another model, are refused", async () => {
    await assert.rejects(quantizeFolder(made.source, join(folder, "wide"), { ...options, group: 128 }), {
      code: "OPTION_INVALID",
      message: /whole groups of 128/,
    });
    const other = writeModelFolder(join(folder, "other"), readFixture("llama"));
    await assert.rejects(
      quantizeFolder(other, join(folder, "other gptq"), { ...options, moments: openMoments(made.moments) }),
      { code: "OPTION_INVALID" },
    );
  });
});
