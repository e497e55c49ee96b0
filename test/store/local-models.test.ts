/** Made-up folders of other programs: found, named, opened where they are. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { packageRoot } from "../../src/package-root.js";
import { findLocal, localModels } from "../../src/store/local/local-models.js";
import { modelPlaces, type Surroundings } from "../../src/store/local/places.js";
import { isCompanion, quantOf } from "../../src/store/local/quant-names.js";
import { nameOf } from "../../src/store/local/types.js";
import { modelFile, runTarget } from "../../src/store/model-word.js";
import { sha256 } from "./test-hub.js";

const demo = join(packageRoot(), "models", "demo.gguf");
const home = mkdtempSync(join(tmpdir(), "hw-local-"));
after(() => rmSync(home, { recursive: true, force: true }));
const system: Surroundings = { env: {}, platform: "linux", home };
const put = (path: string): string => {
  mkdirSync(dirname(join(home, path)), { recursive: true });
  copyFileSync(demo, join(home, path));
  return join(home, path);
};
const write = (path: string, text: string): void => {
  mkdirSync(dirname(join(home, path)), { recursive: true });
  writeFileSync(join(home, path), text);
};

// Hugging Face's cache: a file in two snapshots, one being fetched, one of another form.
const hash = sha256(readFileSync(demo));
const repo = ".cache/huggingface/hub/models--Qwen--Qwen3-8B-GGUF";
put(`${repo}/blobs/${hash}`);
write(`${repo}/blobs/${"1".repeat(64)}.incomplete`, "x");
write(`${repo}/refs/main`, "bbb");
for (const commit of ["aaa", "bbb"]) {
  mkdirSync(join(home, repo, "snapshots", commit), { recursive: true });
  symlinkSync(`../../blobs/${hash}`, join(home, repo, "snapshots", commit, "Qwen3-8B-Q4_K_M.gguf"));
}
symlinkSync("../../blobs/none", join(home, repo, "snapshots", "bbb", "Qwen3-8B-Q8_0.gguf"));
// Of folders of weights all kinds that open; a configuration alone, and checkpoints that nothing joins, are none.
const hub = ".cache/huggingface/hub";
const folders: Record<string, readonly string[]> = {
  tensors: ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
  torch: ["pytorch_model.bin", "optimizer.pt"],
  shards: ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
  graph: ["onnx/model_q4.onnx", "onnx/model_q4.onnx_data", "onnx/model_q4f16.onnx"],
  nothing: ["README.md"],
  several: ["a.pth", "b.pth"],
};
for (const [name, files] of Object.entries(folders))
  for (const file of ["config.json", ...files]) write(`${hub}/models--org--${name}/snapshots/ccc/${file}`, file);
// Ollama's: a model, one whose blob is not whole, one of another form.
const manifest = (digest: string, size: number, mediaType = "application/vnd.ollama.image.model"): string =>
  JSON.stringify({ schemaVersion: 2, config: {}, layers: [{ mediaType, digest: `sha256:${digest}`, size }] });
const bytes = readFileSync(demo).length;
const ollama = ".ollama/models";
put(`${ollama}/blobs/sha256-${hash}`);
write(`${ollama}/blobs/sha256-${"2".repeat(64)}`, "half");
write(`${ollama}/manifests/registry.ollama.ai/library/llama3.2/latest`, manifest(hash, bytes));
write(`${ollama}/manifests/registry.ollama.ai/library/llama3.2/1b`, manifest(hash, bytes));
write(`${ollama}/manifests/registry.ollama.ai/someone/thing/q4`, manifest(hash, bytes));
write(`${ollama}/manifests/hf.co/org/model-GGUF/Q4_K_M`, manifest(hash, bytes));
write(`${ollama}/manifests/registry.ollama.ai/library/half/latest`, manifest("2".repeat(64), bytes));
write(`${ollama}/manifests/registry.ollama.ai/library/mlx/latest`, manifest(hash, bytes, "x.tensor"));
write(`${ollama}/manifests/registry.ollama.ai/library/junk/latest`, "{");
// LM Studio's, with a projector; a split model, and one that is not whole.
put(".lmstudio/models/lmstudio-community/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q4_K_M.gguf");
put(".lmstudio/models/lmstudio-community/gemma-3-4b-it-GGUF/mmproj-model-f16.gguf");
for (const n of [1, 2]) put(`.lmstudio/models/big/model/model-Q2_K-0000${n}-of-00002.gguf`);
put(".lmstudio/models/big/partial/partial-Q2_K-00001-of-00002.gguf");
// Jan's: described, imported from elsewhere, and plain.
put(".config/Jan/data/llamacpp/models/janhq/Jan-v1/model.gguf");
write(
  ".config/Jan/data/llamacpp/models/janhq/Jan-v1/model.yml",
  "name: Jan\nmodel_path: llamacpp/models/janhq/Jan-v1/model.gguf\n",
);
const imported = put("Downloads/some.gguf");
write(".config/Jan/data/llamacpp/models/imported/model.yml", `model_path: "${imported}"\n`);
put(".local/share/nomic.ai/GPT4All/orca-mini.Q4_0.gguf");

const models = localModels(modelPlaces(system).filter(({ folder }) => folder.startsWith(home)));

test("models of every program are found, by names of their own", () => {
  assert.deepEqual(models.map((model) => `${model.place} ${nameOf(model)}`).sort(), [
    "gpt4all orca-mini.Q4_0",
    "hugging-face Qwen/Qwen3-8B-GGUF:Q4_K_M",
    "hugging-face org/graph:model_q4",
    "hugging-face org/graph:model_q4f16",
    "hugging-face org/shards",
    "hugging-face org/tensors",
    "hugging-face org/torch",
    "jan imported",
    "jan janhq/Jan-v1",
    "lm-studio big/model:Q2_K",
    "lm-studio lmstudio-community/gemma-3-4b-it-GGUF:Q4_K_M",
    "ollama llama3.2:1b",
    "ollama llama3.2:latest",
    "ollama org/model-GGUF:Q4_K_M",
    "ollama someone/thing:q4",
  ]);
  const split = models.find(({ repo }) => repo === "big/model")!;
  assert.equal(split.files.length, 2);
  assert.equal(split.bytes, 2 * bytes);
});

test("a folder of weights is one model; a graph is one with its tensors", () => {
  const found = (name: string) => models.find((model) => nameOf(model) === name)!;
  const base = join(home, hub, "models--org--graph", "snapshots", "ccc");
  assert.equal(found("org/graph:model_q4").path, join(base, "onnx", "model_q4.onnx"));
  assert.deepEqual(
    found("org/graph:model_q4").files.map(({ path }) => path),
    [join(base, "onnx", "model_q4.onnx"), join(base, "onnx", "model_q4.onnx_data")],
  );
  assert.equal(found("org/torch").path, join(home, hub, "models--org--torch", "snapshots", "ccc"));
  assert.equal(findLocal("org/graph:MODEL_Q4", models)?.path, found("org/graph:model_q4").path);
});

test("every name opens what it names", async () => {
  const names: Record<string, string> = {
    "llama3.2": "ollama",
    "llama3.2:1b": "ollama",
    "ollama:llama3.2": "ollama",
    "ollama:llama3.2:1b": "ollama",
    "someone/thing:q4": "ollama",
    "hf.co/org/model-GGUF": "ollama",
    "org/model-GGUF:Q4_K_M": "ollama",
    "Qwen/Qwen3-8B-GGUF": "hugging-face",
    "hf.co/Qwen/Qwen3-8B-GGUF:q4_k_m": "hugging-face",
    "qwen3-8b": "hugging-face",
    "Qwen3-8B-Q4_K_M.gguf": "hugging-face",
    "gemma-3-4b-it": "lm-studio",
    "janhq/Jan-v1": "jan",
    imported: "jan",
    "orca-mini.Q4_0": "gpt4all",
  };
  for (const [word, place] of Object.entries(names)) {
    const found = findLocal(word, models);
    assert.equal(found?.place, place, word);
    const path = modelFile(word, system);
    assert.equal(path, found!.path);
    if (place !== "lm-studio") assert.equal((await openCheckpoint(path)).tensors.size, 38, word);
  }
  assert.equal(findLocal("llama3", models), undefined);
  assert.equal(findLocal("Qwen/Qwen3-8B-GGUF:Q8_0", models), undefined);
  assert.ok(modelFile("Qwen3-8B", system).includes("snapshots/bbb/"));
  // A word that is a model's is no prompt.
  assert.deepEqual(runTarget("imported", undefined, system), { path: imported, prompt: undefined });
});

test("a name of several models is an error that lists them", () => {
  const two = [...models, { ...models[0]!, repo: "other/Qwen3-8B-GGUF", path: "/x" }];
  assert.throws(() => findLocal("qwen3-8b", two), { code: "OPTION_INVALID", message: /2 models have this name: / });
});

test("environment variables move the places", () => {
  const folders = (env: Record<string, string>, platform: NodeJS.Platform = "linux") =>
    Object.fromEntries(modelPlaces({ env, platform, home: "/home/u" }).map(({ kind, folder }) => [kind, folder]));
  assert.equal(folders({}).hundredweight, "/home/u/.local/share/hundredweight/models");
  assert.equal(folders({ HUNDREDWEIGHT_MODELS: "/m" }).hundredweight, "/m");
  assert.equal(folders({ XDG_DATA_HOME: "/d" }).hundredweight, "/d/hundredweight/models");
  const first = (env: Record<string, string>) =>
    modelPlaces({ env, platform: "linux", home: "/home/u" }).find(({ kind }) => kind === "hugging-face")!.folder;
  assert.equal(first({}), "/home/u/.cache/huggingface/hub");
  assert.equal(first({ HF_HOME: "/h" }), "/h/hub");
  assert.equal(first({ HF_HOME: "/h", HF_HUB_CACHE: "/c", HUGGINGFACE_HUB_CACHE: "/old" }), "/c");
  assert.equal(first({ XDG_CACHE_HOME: "/x" }), "/x/huggingface/hub");
  const own = modelPlaces({ env: { OLLAMA_MODELS: "/o" }, platform: "linux", home: "/home/u" });
  assert.ok(own.some(({ kind, folder }) => kind === "ollama" && folder === "/o"));
});

test("quantizations and companions by names of files", () => {
  const quants: Record<string, string | undefined> = {
    "Qwen3-8B-Q4_K_M.gguf": "Q4_K_M",
    "model.Q8_0.gguf": "Q8_0",
    "UD-Q2_K_XL/DeepSeek-V3-UD-Q2_K_XL-00001-of-00006.gguf": "UD-Q2_K_XL",
    "gpt-oss-20b-mxfp4.gguf": "MXFP4",
    "a-IQ3_XXS.gguf": "IQ3_XXS",
    "a-IQ4_NL.gguf": "IQ4_NL",
    "a-BF16-00001-of-00002.gguf": "BF16",
    "BF16/a-00001-of-00002.gguf": "BF16",
    "Qwen2.5-7B-Instruct-1M-Q5_0.gguf": "Q5_0",
    "bitnet-TQ1_0.gguf": "TQ1_0",
    "plain.gguf": undefined,
  };
  for (const [file, quant] of Object.entries(quants)) assert.equal(quantOf(file), quant, file);
  for (const file of ["mmproj-F16.gguf", "x.imatrix.gguf", "imatrix.gguf", "sub/mtp-x.gguf", "a-mmproj-f16.gguf"])
    assert.ok(isCompanion(file), file);
  assert.equal(isCompanion("Qwen3-8B-Q4_K_M.gguf"), false);
});
