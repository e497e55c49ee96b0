/** A conversation that is kept in a file goes on in another process as if it had never been left. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ChatSession } from "../src/cli/chat/chat-session.js";
import { Conversation } from "../src/cli/chat/conversation.js";
import { readSaved } from "../src/cli/chat/saved.js";
import { SessionFile } from "../src/cli/options/session-file.js";
import type { GenerationResult } from "../src/library/generation.js";
import { load, type Model } from "../src/library/model.js";
import { agentTokenizer } from "./support/agent-template.js";
import { writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-sessions-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const sampled = { temperature: 1, seed: 5, ignoreEos: true };

/** Keys and values, latent vectors, states that are replaced. */
const shapes = [
  ["llama", "dense"],
  ["deepseek2", "v2-lite"],
  ["qwen35", "dense"],
] as const;

async function modelOf(arch: string, variant: string): Promise<string> {
  const path = join(folder, `${arch}.gguf`);
  const tokenizer = agentTokenizer();
  if (!existsSync(path))
    await writeRandomModel(path, {
      ...{ arch, variant, dims: 64, types: {}, seed: 11, tokenizer },
      overrides: { context_length: 2048 },
    });
  return path;
}

async function withModel<T>(path: string, work: (model: Model) => Promise<T>): Promise<T> {
  const model = await load(path, { contextTokens: 1024, threads: 1, checkpointBytes: 2 ** 22 });
  try {
    return await work(model);
  } finally {
    await model.close();
  }
}

const talkWith = (model: Model, maxTokens = 64, raw = false): Conversation =>
  new Conversation(model, { ...sampled, maxTokens }, raw, { part() {}, note() {} });

for (const [arch, variant] of shapes)
  test(`${arch}: a conversation that was kept goes on with the tokens of one that was not left`, async () => {
    const path = await modelOf(arch, variant);
    const file = join(folder, `${arch}.chat`);
    const whole = await withModel(path, async (model) => {
      const talk = talkWith(model);
      await talk.setSystem("You work on files.");
      await talk.say("Read the first file.");
      await talk.save(file);
      return (await talk.say("And the next."))!;
    });
    await withModel(path, async (model) => {
      const talk = talkWith(model);
      await talk.load(file);
      assert.equal(talk.system, "You work on files.");
      assert.equal(talk.turns.list.length, 1);
      const next = (await talk.say("And the next."))!;
      assert.deepEqual(next.promptTokens, whole.promptTokens);
      assert.deepEqual(next.tokens, whole.tokens);
      assert.equal(next.tokens.length, 64);
      assert.equal(next.reusedTokens, whole.reusedTokens, "what was evaluated is in the file");
    });
  });

test("a run adds turns to its session, and an answer that was cut goes on as if it had not been", async () => {
  const path = await modelOf("llama", "dense");
  const file = join(folder, "run.chat");
  const whole = await withModel(path, (model) =>
    model.chat([{ role: "user", content: "Read it." }], { ...sampled, maxTokens: 84 }).result(),
  );
  const run = (text: string, maxTokens: number): Promise<GenerationResult> =>
    withModel(path, async (model) => {
      const session = new ChatSession(model, file);
      const result = await (await session.generate(text, undefined, { ...sampled, maxTokens })).result();
      await session.save(result);
      return result;
    });
  const first = await run("Read it.", 20);
  const rest = await run("", 64);
  assert.deepEqual([...first.tokens, ...rest.tokens], whole.tokens);
  assert.equal(first.text + rest.text, whole.text);
  const next = await run("And the next.", 8);
  assert.ok(next.reusedTokens >= first.promptTokens.length + 83, "a turn behind the whole answer");
  await withModel(path, async (model) => {
    const talk = talkWith(model);
    await talk.load(file);
    assert.deepEqual(
      talk.turns.list.map(({ user }) => user),
      ["Read it.", "And the next."],
    );
    assert.equal(talk.turns.list[0]!.answer, whole.text);
  });
});

test("what does not fit is told, and the conversation stays", async () => {
  const path = await modelOf("llama", "dense");
  const [chat, text] = [join(folder, "fits.chat"), join(folder, "text.session")];
  await withModel(path, async (model) => {
    const talk = talkWith(model, 4);
    await talk.say("Read it.");
    await talk.save(chat);
    const session = new SessionFile(model, text);
    await session.save(await (await session.generate("Once", { ...sampled, maxTokens: 4 })).result());
    await assert.rejects(talk.load(text), { code: "SESSION_MISFIT", message: /keeps a text/ });
    await assert.rejects(talk.load(`${text}.none`), { code: "FILE_NOT_FOUND" });
    assert.equal(talk.turns.list.length, 1);
    await assert.rejects(talkWith(model, 4, true).load(chat), { code: "SESSION_MISFIT", message: /chat template/ });
  });
  await withModel(await modelOf("qwen35", "dense"), (model) =>
    assert.rejects(talkWith(model).load(chat), { code: "SESSION_MISFIT", message: /architecture 'llama'/ }),
  );
});

test("a stranger's conversation is looked at before it counts", () => {
  const good = { conversation: 1, raw: false, turns: [{ user: "a", steps: [], answer: "b" }], calls: [] };
  assert.equal(readSaved("f", JSON.stringify(good), false).turns[0]!.answer, "b");
  for (const bad of [
    { ...good, conversation: 2 },
    { ...good, turns: {} },
    { ...good, turns: [{ user: 1, steps: [] }] },
    { ...good, turns: [{ user: "a", steps: [null] }] },
    { ...good, turns: [{ user: "a", steps: [], tokens: -1 }] },
    { ...good, calls: [{ id: 1 }] },
    { ...good, system: 3 },
    { ...good, cut: { tokens: 0.5, sampler: {} } },
  ])
    assert.throws(() => readSaved("f", JSON.stringify(bad), false), { code: "FORMAT_INVALID" });
  for (const other of ["", "{}", "[1]", "null"])
    assert.throws(() => readSaved("f", other, false), { code: "SESSION_MISFIT" });
});
