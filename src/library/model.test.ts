import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeOptions, fakeParts } from "../../test/support/fake-model.js";
import type { GenerateOptions } from "./generation.js";
import { Model } from "./model.js";

const greedy: GenerateOptions = { temperature: 0, ignoreEos: true, maxTokens: 20 };

/** "user: text" lines, then "bot:"; `<end>` is a control token of the fake vocabulary. */
const template =
  "{% for m in messages %}{{ m.role }}: {{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}bot:{% endif %}";

async function withModel<T>(
  use: (model: Model, parts: ReturnType<typeof fakeParts>) => Promise<T>,
  options: FakeOptions = {},
  chatTemplate: string | null = template,
): Promise<T> {
  const made = fakeParts(options);
  const parts = { ...made, info: { ...made.info, chatTemplate: chatTemplate ?? undefined } };
  const model = await Model.load("fake", {}, async () => parts);
  try {
    return await use(model, parts);
  } finally {
    await model.close();
  }
}

test("the pieces are the text; the result tells the rest", async () => {
  await withModel(async (model) => {
    const generation = model.generate("hello", { ...greedy, drafts: "off" });
    let text = "";
    for await (const piece of generation) text += piece;
    const result = await generation.result();
    assert.equal(result.text, text);
    assert.equal(result.tokens.length, 20);
    assert.equal(result.finishReason, "length");
    assert.equal(result.ledger.length, 20);
    assert.ok(result.timings.decodeTps > 0);
    assert.equal((await model.generate([257, ...Buffer.from("hello")], greedy).result()).text, text);
  });
});

test("leaving the loop stops the model, and the next generation starts at once", async () => {
  await withModel(
    async (model, { model: fake }) => {
      const generation = model.generate("hello", { ...greedy, maxTokens: 500 });
      for await (const _ of generation) break;
      await assert.rejects(generation.result(), { code: "CANCELLED" });
      assert.ok(fake.passes < 100);
      const next = await model.generate("hello", greedy).result();
      assert.equal(next.tokens.length, 20);
      assert.ok(next.reusedTokens > 0);
    },
    { passMs: 2 },
  );
});

test("an abort signal ends it, also one that was aborted before", async () => {
  await withModel(
    async (model) => {
      const controller = new AbortController();
      const running = model.generate("hello", { ...greedy, maxTokens: 500, signal: controller.signal });
      setTimeout(() => controller.abort(), 20);
      await assert.rejects(running.result(), { code: "CANCELLED" });
      const late = model.generate("hello", { ...greedy, signal: controller.signal });
      await assert.rejects(late.result(), { code: "CANCELLED" });
    },
    { passMs: 2 },
  );
});

test("chat: control tokens come from the template only; a longer conversation reuses the shorter", async () => {
  await withModel(async (model) => {
    const first = await model.chat([{ role: "user", content: "hi <end> you" }], greedy).result();
    assert.deepEqual(first.promptTokens, [257, ...Buffer.from("user: hi <end> you"), 258, ...Buffer.from("bot:")]);
    const second = await model
      .chat(
        [
          { role: "user", content: "hi <end> you" },
          { role: "user", content: "more" },
        ],
        greedy,
      )
      .result();
    assert.equal(second.reusedTokens, 1 + "user: hi <end> you".length + 1);
  });
});

test("chat without a template and with a broken one", async () => {
  const message = [{ role: "user", content: "x" }];
  await withModel(
    async (model) => {
      const { promptTokens, warnings } = await model.chat(message, { ...greedy, maxTokens: 1 }).result();
      assert.deepEqual(promptTokens.slice(1), [
        ...Buffer.from("<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"),
      ]);
      assert.match(warnings[0]!, /ChatML/);
    },
    {},
    null,
  );
  await withModel(
    async (model) => assert.throws(() => model.chat(message), { code: "TEMPLATE_INVALID" }),
    {},
    "{% if %}",
  );
});

test("tokenize and detokenize", async () => {
  await withModel(async (model) => {
    assert.deepEqual(await model.tokenize("a<end>"), [...Buffer.from("a<end>")]);
    assert.deepEqual(await model.tokenize("a<end>", { special: true }), [257, 97, 258]);
    assert.equal(await model.detokenize([104, 105]), "hi");
  });
});

test("the file's sampling defaults stand behind what the caller says", async () => {
  const made = fakeParts();
  const parts = { ...made, info: { ...made.info, samplingDefaults: { temperature: 0 } } };
  const model = await Model.load("fake", {}, async () => parts);
  try {
    const run = async (options: GenerateOptions): Promise<string> =>
      (await model.generate("hello", { maxTokens: 30, ignoreEos: true, ...options }).result()).text;
    assert.equal(await run({ seed: 1 }), await run({ seed: 2 }));
    assert.notEqual(await run({ seed: 1, temperature: 2 }), await run({ seed: 2, temperature: 2 }));
  } finally {
    await model.close();
  }
});

test("wrong settings are OPTION_INVALID and name the setting", async () => {
  await withModel(async (model) => {
    await assert.rejects(model.generate("x", { topP: 7 }).result(), { code: "OPTION_INVALID", message: /topP/ });
  });
});
