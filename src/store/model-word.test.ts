import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Surroundings } from "./local/places.js";
import { bundledModel, modelFile, modelOrPreset, runTarget } from "./model-word.js";

const folder = mkdtempSync(join(tmpdir(), "hw-word-"));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, "model file.gguf");
writeFileSync(file, "x");
const bundled = bundledModel();
/** A user without models. */
const system: Surroundings = { env: { HUNDREDWEIGHT_MODELS: join(folder, "none") }, platform: "win32", home: folder };

test("run: a path, else a prompt when it reads like one, else an error that says where models come from", () => {
  assert.deepEqual(runTarget(undefined, undefined), { path: bundled, prompt: undefined });
  assert.deepEqual(runTarget(file, undefined), { path: file, prompt: undefined });
  assert.deepEqual(runTarget(file, "hi"), { path: file, prompt: "hi" });
  for (const prompt of [
    "And the king said",
    "Hello",
    "hello!",
    "Warum?",
    "你好。",
    "don't",
    "a/b or c.d?",
    "x ".repeat(5000),
  ]) {
    const target = runTarget(prompt, undefined, system);
    assert.deepEqual([target.path, target.prompt], [bundled, prompt]);
    assert.match(target.note ?? "", /is no file: it is the prompt, and the bundled/);
  }
  const words = [
    "llama3.2",
    "qwen3:8b",
    "org/name",
    "org/name:Q4_K_M",
    "ollama:llama3.2:1b",
    "gpt-oss",
    "phi3",
    "a_b",
    "C:\\m",
  ];
  for (const word of words)
    assert.throws(() => runTarget(word, undefined, system), {
      code: "FILE_NOT_FOUND",
      message: new RegExp(
        `^${word.replace(/[.\\]/g, "\\$&")}: no such file, and no model of this name on this computer`,
      ),
    });
  assert.throws(() => runTarget("org/name:Q4_K_M", undefined, system), {
    message: /; `hundredweight pull org\/name:Q4_K_M` fetches it$/,
  });
  assert.throws(() => runTarget("llama3.2", undefined, system), {
    message: /on Hugging Face as GGUF files: .*`pull ollama:llama3\.2` one of Ollama's$/,
  });
  // With a prompt beside it the first word can only be a model.
  assert.throws(() => runTarget("Hello", "there", system), { code: "FILE_NOT_FOUND" });
});

test("what is clearly a path gets a short answer; a link to nowhere is a path; others know no prompts", () => {
  for (const path of [join(folder, "missing.gguf"), "./x", "../no-such-file", "~/m", "missing.GGUF"])
    assert.throws(() => modelFile(path), { code: "FILE_NOT_FOUND", message: `${path}: no such file` });
  symlinkSync(join(folder, "nowhere"), join(folder, "dangling"));
  assert.equal(modelFile(join(folder, "dangling")), join(folder, "dangling"));
  assert.equal(modelFile(undefined), bundled);
  assert.throws(() => modelFile("And the king said", system), { code: "FILE_NOT_FOUND" });
  // What the system refuses to look up is left to whoever opens it.
  assert.equal(modelFile("x".repeat(5000)), "x".repeat(5000));
});

test("presets: for commands that take them, behind paths; the error lists them", () => {
  const presets = ["llama-1b", "gpt-oss-20b"];
  assert.deepEqual(modelOrPreset("llama-1b,layers=2", presets, system), { preset: "llama-1b,layers=2" });
  assert.deepEqual(modelOrPreset(file, presets), { path: file });
  assert.throws(() => modelOrPreset("llama-2b", presets, system), /or a preset \(llama-1b, gpt-oss-20b\)/);
});

test("a path that is not UTF-8 has its own code", () => {
  assert.throws(() => modelFile("/models/caf\ufffd.gguf"), { code: "PATH_NOT_UTF8", message: /rename the file/ });
});
