/** Answers of the library and of the terminal's chat that come back: their tokens are those that were evaluated. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ChatMessage } from "../src/chat/index.js";
import { Conversation } from "../src/cli/chat/conversation.js";
import type { GenerationResult } from "../src/library/generation.js";
import { load, type Model } from "../src/library/model.js";
import { writeAgentModel } from "./server/agent-session.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-answers-"));
let model: Model;
before(async () => {
  const path = join(folder, "agent.gguf");
  await writeAgentModel(path, "llama", 2048);
  model = await load(path, { contextTokens: 2048 });
});
after(async () => {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A random model writes at random: hardly any answer has the pieces that its text would be cut into. */
const random = { temperature: 1, maxTokens: 24, ignoreEos: true };

/** The last token of an answer is not evaluated. */
const evaluated = ({ promptTokens, tokens }: GenerationResult): number[] => [...promptTokens, ...tokens].slice(0, -1);

function goesOn(first: GenerationResult, second: GenerationResult): void {
  const past = evaluated(first);
  assert.deepEqual(second.promptTokens.slice(0, past.length), past);
  assert.equal(second.reusedTokens, past.length);
}

test("the library takes the tokens that were evaluated for an answer", async () => {
  const messages: ChatMessage[] = [{ role: "user", content: "Read the file." }];
  let changed = 0;
  for (let seed = 1; seed <= 3; seed++) {
    const first = await model.chat(messages, { ...random, seed }).result();
    const asked: ChatMessage[] = [
      ...messages,
      { role: "assistant", content: first.text },
      { role: "user", content: "And then?" },
    ];
    const second = await model.chat(asked, { ...random, seed }).result();
    goesOn(first, second);
    if ((await model.tokenize(first.text)).join() !== first.tokens.join()) changed++;
  }
  assert.ok(changed > 0, "its text alone would have given other tokens");
});

test("an answer that ended at a stop text is not what its tokens say, so they are not taken", async () => {
  const messages: ChatMessage[] = [{ role: "user", content: "Read it." }];
  const whole = await model.chat(messages, { ...random, seed: 1 }).result();
  const stop = [...whole.text].slice(3, 5).join("");
  const first = await model.chat(messages, { ...random, seed: 1, stop: [stop] }).result();
  assert.ok(!first.text.includes(stop) && first.tokens.length < whole.tokens.length);
  const asked: ChatMessage[] = [
    ...messages,
    { role: "assistant", content: first.text },
    { role: "user", content: "And then?" },
  ];
  const second = await model.chat(asked, { ...random, seed: 1 }).result();
  assert.ok(second.reusedTokens < evaluated(first).length);
});

test("the terminal's chat takes them as well, turn after turn", async () => {
  const talk = new Conversation(model, random, false, { part() {}, note() {} });
  await talk.setSystem("You work on files.");
  let before = await talk.say("Read the first file.");
  for (const text of ["And the next.", "The last one now."]) {
    const after = await talk.say(text);
    assert.ok(before !== undefined && after !== undefined);
    goesOn(before, after);
    before = after;
  }
});
