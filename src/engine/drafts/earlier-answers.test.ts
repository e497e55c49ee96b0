import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeParts } from "../../../test/support/fake-model.js";
import { defaultSampling } from "../../sampling/chain.js";
import { Engine } from "../engine.js";
import type { GenerateRequest } from "../jobs.js";
import { Drafter, LearnedOdds } from "./drafter.js";
import { EarlierAnswers } from "./earlier-answers.js";
import { SuffixIndex } from "./suffix-index.js";

const count = (from: number, length: number): number[] => Array.from({ length }, (_, i) => from + i);

function textOf(tokens: readonly number[]): SuffixIndex {
  const text = new SuffixIndex();
  for (const id of tokens) text.push(id);
  return text;
}

test("the end of a text is found in earlier answers of its owner, and in nobody else's", () => {
  const answers = new EarlierAnswers();
  answers.add("a", count(100, 40));
  answers.add(undefined, count(200, 40));
  answers.add("", count(300, 40));
  const seen = (owner: string | undefined, from: number): number =>
    answers.longest(owner, textOf([1, 2, 3, ...count(from, 5)]))?.length ?? 0;
  for (const [owner, own] of [
    ["a", 100],
    [undefined, 200],
    ["", 300],
  ] as const) {
    for (const from of [100, 200, 300]) assert.equal(seen(owner, from), from === own ? 5 : 0, `${owner} ${from}`);
    assert.equal(seen("b", own), 0);
  }
});

test("memory is bounded: the oldest tokens and owners are forgotten", () => {
  const answers = new EarlierAnswers();
  for (let i = 0; i < 200; i++) answers.add("a", count(1000 * i, 900));
  assert.ok(answers.tokens <= 2 * 16_384, `${answers.tokens}`);
  const found = (owner: string, from: number): boolean => answers.longest(owner, textOf(count(from, 6)))?.length === 6;
  assert.ok(found("a", 199_400) && found("a", 190_400) && !found("a", 400));
  for (let i = 0; i < 30; i++) {
    answers.add(`owner ${i}`, count(0, 20));
    assert.ok(found("a", 199_400), "whoever goes on asking is kept");
  }
  assert.ok(!found("owner 3", 4) && found("owner 29", 4));
  assert.ok(answers.tokens <= 8 * 2 * 16_384);
});

test("an answer is guessed from the one before where more agrees there than in its own text", () => {
  const learned = new LearnedOdds();
  const begin = (owner?: string): Drafter =>
    new Drafter({ mode: 8, learned, guide: undefined, prediction: [], prompt: Int32Array.of(1, 2, 3), owner });
  const first = begin("a");
  for (const id of count(10, 30)) first.accept(id);
  first.ended();
  const again = begin("a");
  again.propose(4);
  for (const id of [10, 11, 12]) again.accept(id);
  assert.deepEqual(Array.from(again.propose(4)), [13, 14, 15, 16]);
  again.learn(4, 2);
  assert.deepEqual(again.counts, { earlier: { tried: 4, right: 2 } });
  for (const id of count(13, 25)) again.accept(id);
  assert.deepEqual(Array.from(again.propose(8)), [38, 39], "an answer ends where it ended");
  const another = begin("b");
  for (const id of [10, 11, 12]) another.accept(id);
  assert.deepEqual(Array.from(another.propose(4)), []);
  const off = new Drafter({
    ...{ mode: "off", learned, guide: undefined, prediction: [], owner: "c" },
    prompt: Int32Array.of(1),
  });
  for (const id of count(50, 30)) off.accept(id);
  off.ended();
  const after = begin("c");
  for (const id of [50, 51, 52]) after.accept(id);
  assert.deepEqual(Array.from(after.propose(4)), [], "who wants no guesses leaves nothing for any");
});

test("an engine guesses an answer from the one before, for its owner alone, and the tokens stay", async () => {
  const parts = fakeParts({ contextTokens: 256 });
  const { model } = parts;
  const engine = new Engine({ ...parts, drafts: 8 });
  let jobs = 0;
  const ask = async (scope: string, seed = 5): Promise<{ ids: number[]; passes: number; guesses: number }> => {
    const ids: number[] = [];
    const before = model.passes;
    const request: GenerateRequest = {
      kind: "generate",
      prompt: { kind: "tokens", tokens: Int32Array.from(count(60, 20)) },
      sampling: { ...defaultSampling, seed, temperature: 1 },
      maxTokens: 60,
      stop: [],
      ignoreEos: true,
      scope,
    };
    const result = await engine.submit(++jobs, request, (event) => {
      if (event.kind === "token") ids.push(event.id);
    });
    assert.ok(result.kind === "generate");
    return { ids, passes: model.passes - before, guesses: result.drafts?.earlier?.right ?? 0 };
  };
  const first = await ask("a");
  const again = await ask("a");
  const other = await ask("b");
  assert.deepEqual([again.ids, other.ids], [first.ids, first.ids]);
  assert.equal(first.guesses, 0);
  assert.ok(again.guesses > 40 && again.passes < first.passes / 3, `${again.guesses} guesses, ${again.passes} passes`);
  assert.equal(other.guesses, 0);
  assert.ok(other.passes > 2 * again.passes, `${other.passes} passes`);
  await engine.close();
});
