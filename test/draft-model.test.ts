/** A small model guesses for a large one: fewer passes, the same tokens, one budget. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../src/containers/index.js";
import type { GenerateOptions } from "../src/library/generation.js";
import { load, type Model } from "../src/library/model.js";
import { packageRoot } from "../src/package-root.js";
import { skipAddon } from "./support/addon.js";
import { writeRandomModel } from "./support/random-model.js";

const demo = join(packageRoot(), "models", "demo.gguf");
const folder = mkdtempSync(join(tmpdir(), "hundredweight-draft-model-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const asked: readonly GenerateOptions[] = [
  { temperature: 0, maxTokens: 60 },
  { temperature: 0.9, seed: 5, repeatPenalty: 1.2, maxTokens: 40 },
  { temperature: 0.7, seed: 6, maxTokens: 40, constraint: { kind: "regex", pattern: "[A-Z][a-z ,]{20,60}[.]" } },
];
const prompts = ["And the king said", "Once there was a wolf", "The"];

async function answers(model: Model): Promise<{ tokens: (readonly number[])[]; passes: number; right: number }> {
  const results = await Promise.all(asked.map((options, i) => model.generate(prompts[i]!, options).result()));
  const right = results.reduce((sum, { drafts }) => sum + (drafts?.model?.right ?? 0), 0);
  const passes = results.reduce((sum, { ledger }) => sum + ledger.length, 0);
  return { tokens: results.map(({ tokens }) => tokens), passes, right };
}

async function withModel<T>(options: Parameters<typeof load>[1], use: (model: Model) => Promise<T>): Promise<T> {
  const model = await load(demo, { threads: 1, contextTokens: 256, ...options });
  try {
    return await use(model);
  } finally {
    await model.close();
  }
}

test("guesses of a model that is as good halve the passes and change no token", { skip: skipAddon }, async () => {
  const plain = await withModel({ drafts: "off" }, answers);
  for (const sequences of [1, 3]) {
    const guessed = await withModel({ draftModel: demo, drafts: 4, sequences }, answers);
    assert.deepEqual(guessed.tokens, plain.tokens);
    assert.ok(guessed.right > 50, `${guessed.right} guesses were right`);
    assert.ok(guessed.passes < 0.5 * plain.passes, `${guessed.passes} passes, ${plain.passes} without guesses`);
  }
  const auto = await withModel({ draftModel: demo, sequences: 2 }, answers);
  assert.deepEqual(auto.tokens, plain.tokens);
});

test("both models are within the budget", { skip: skipAddon }, async () => {
  const memoryBytes = 512 * 2 ** 20;
  const report = await withModel({ draftModel: demo, memoryBytes }, async (model) => {
    await model.generate("The", { maxTokens: 8 }).result();
    return model.memory();
  });
  assert.equal(report.machine?.models, 2);
  assert.ok(report.machine.promisedBytes <= memoryBytes, JSON.stringify(report.machine));
});

test("a small model whose numbers are broken costs no answer and no token", { skip: skipAddon }, async () => {
  const broken = join(folder, "broken.gguf");
  const bytes = readFileSync(demo);
  const { planes } = (await openCheckpoint(demo)).tensors.get("output_norm.weight")!;
  bytes.writeFloatLE(Number.NaN, planes.values?.[0]?.offset ?? planes.blocks![0]!.offset);
  writeFileSync(broken, bytes);
  const plain = await withModel({ drafts: "off" }, answers);
  const beside = await withModel({ draftModel: broken, drafts: 4, sequences: 3 }, answers);
  assert.deepEqual(beside.tokens, plain.tokens);
  assert.equal(beside.right, 0);
});

test("a model of another vocabulary is refused", { skip: skipAddon }, async () => {
  const other = join(folder, "other.gguf");
  await writeRandomModel(other, { arch: "llama", variant: "dense", dims: 64, seed: 3, types: {} });
  await assert.rejects(load(demo, { threads: 1, draftModel: other }), {
    code: "OPTION_INVALID",
    message: /--draft-model .*other\.gguf: \d+ of its \d+ tokens are the large model's/,
  });
});
