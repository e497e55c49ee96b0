/**
 * GGUF files as folders: what transformers saved goes to GGUF and back, and the logits are those of transformers. What
 * config.json says is what was there; what a folder cannot say is refused by name.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { readSafetensors } from "../../src/containers/safetensors/header.js";
import { convertModel } from "../../src/convert/index.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { bestOps } from "../differential/models/compare.js";
import { expectedRows, readFixture } from "../huggingface/folder.js";
import { evaluate, meanKl, openModel } from "../support/evaluate.js";
import { writeModelFolder } from "./fixture-folder.js";

const families = [
  ...["llama", "llama3", "mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "gemma", "gemma2", "gemma3"],
  ...["phi3", "phi2", "olmo2", "olmo3", "olmoe", "starcoder2", "stablelm", "cohere", "cohere2", "granite", "smollm3"],
  ...["seed_oss", "exaone4", "ernie4_5", "glm4", "glm4_moe", "hunyuan_dense", "nemotron", "dots1", "minimax_m2"],
];

/** Keys under which a fixture has what the written file says under the older ones, or says in another way. */
const otherwise = new Set([
  "architectures",
  "model_type",
  "rope_scaling",
  "rope_theta",
  "torch_dtype",
  "sliding_window",
]);

describe("GGUF files as folders", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-gguf-folder-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const roundTrip = async (name: string): Promise<{ readonly to: string; readonly gguf: string }> => {
    const source = writeModelFolder(join(folder, name), readFixture(name));
    const gguf = join(folder, `${name}.gguf`);
    await convertModel(source, gguf);
    const to = join(folder, `${name}-back`);
    await convertModel(gguf, join(to, "model.safetensors"));
    return { to, gguf };
  };

  for (const name of families)
    test(`${name}: KL to transformers below 1e-6, and the same configuration`, async () => {
      const { to } = await roundTrip(name);
      const fixture = readFixture(name);
      const model = await openModel(to, bestOps());
      try {
        const expected = expectedRows(fixture, "values");
        const rows = await evaluate(model, fixture.ids);
        const kl = meanKl(expected, rows.slice(-expected.length));
        assert.ok(kl >= -1e-9 && kl < 1e-6, `KL ${kl}`);
      } finally {
        model.close();
      }
      const config = JSON.parse(readFileSync(join(to, "config.json"), "utf8")) as Record<string, unknown>;
      for (const [key, value] of Object.entries(config))
        if ((fixture.config[key] ?? null) !== null && !otherwise.has(key) && !key.endsWith("_token_id"))
          assert.deepEqual(value, fixture.config[key], key);
      const names = new Set(fixture.tensors.map(([tensor]) => tensor));
      const { tensors } = readSafetensors(join(to, "model.safetensors"));
      assert.deepEqual(new Set(tensors.map((tensor) => tensor.name)), names);
    });

  test("a quantized file needs a type, and says so by the tensor's name", async () => {
    const path = join(folder, "q4.gguf");
    await makeTinyModel(path, "qwen3", { dtype: "Q4_0" });
    const to = join(folder, "q4", "model.safetensors");
    await assert.rejects(convertModel(path, to), {
      code: "FORMAT_UNSUPPORTED",
      message: /'token_embd\.weight' is of Q4_0.*--inexact f16/,
    });
    await convertModel(path, to, { inexact: "f16" });
    const types = new Set(readSafetensors(to).tensors.map(({ dtype }) => dtype));
    assert.deepEqual(types, new Set(["F32", "F16"]));
    assert.equal(JSON.parse(readFileSync(join(folder, "q4", "config.json"), "utf8")).torch_dtype, "float16");
  });

  test("what a folder has no place for is refused by name, before anything is written", async () => {
    const refused: readonly [string, string | undefined, RegExp][] = [
      ["granite", "no-rope", /config\.json of 'granite' cannot say .*rope/],
      ["mamba2", undefined, /'mamba2' is not written as a folder; what is: llama/],
      ["qwen3", "reranker", /rank|cls/],
    ];
    for (const [arch, variant, message] of refused) {
      const path = join(folder, `${arch}-refused.gguf`);
      await makeTinyModel(path, arch, variant === undefined ? {} : { variant });
      const to = join(folder, `${arch}-refused`);
      await assert.rejects(convertModel(path, join(to, "model.safetensors")), { code: "FORMAT_UNSUPPORTED", message });
      assert.equal(existsSync(to), false);
    }
  });

  test("a folder of another model is left alone", async () => {
    const path = join(folder, "own.gguf");
    await makeTinyModel(path, "qwen3");
    const other = writeModelFolder(join(folder, "other"), readFixture("llama"));
    await assert.rejects(convertModel(path, join(other, "b.safetensors")), { code: "OPTION_INVALID" });
    mkdirSync(join(folder, "plain"));
    assert.equal((await openCheckpoint(other)).metadata.string("general.architecture"), "llama");
  });
});
