/** npm `ai` with `@ai-sdk/openai-compatible` (Chat Completions) and `@ai-sdk/openai` (Responses), unmodified. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { z } from "zod";
import { demoModel, needsThreads, serveForTests, until } from "../server/support.js";
import { call, load, Scripted, type Untyped } from "./scripted.js";

const ai = await load("ai");
const compatible = await load("@ai-sdk/openai-compatible");
const openai = await load("@ai-sdk/openai");
const skip = ai.skip || compatible.skip || openai.skip;

const providers: [name: string, model: (baseURL: string) => Untyped][] = [
  [
    "@ai-sdk/openai-compatible",
    (baseURL) =>
      compatible.module.createOpenAICompatible({
        name: "local",
        baseURL,
        supportsStructuredOutputs: true,
        includeUsage: true,
      })("scripted"),
  ],
  ["@ai-sdk/openai", (baseURL) => openai.module.createOpenAI({ baseURL, apiKey: "none" }).responses("scripted")],
];

for (const [name, modelAt] of providers) {
  describe(`npm ai, ${name}`, { skip }, () => {
    let scripted: Scripted;
    let model: Untyped;
    const { generateText, streamText, generateObject, tool, stepCountIs } = ai.module;
    const quiet = { maxRetries: 0, onError: () => {} };
    const reasoning = { providerOptions: { openai: { reasoningSummary: "auto", forceReasoning: true } } };

    before(async () => {
      scripted = await Scripted.start();
      model = modelAt(`${scripted.server.url}/v1`);
    });

    it("answers, whole and streamed, with what it thought", async () => {
      scripted.says("<think>Rome.</think>Sunny.", "<think>Rome.</think>Sunny.");
      const whole = await generateText({ model, prompt: "Weather?", ...quiet, ...reasoning });
      assert.deepEqual([whole.text, whole.finishReason, whole.reasoningText], ["Sunny.", "stop", "Rome."]);
      assert.ok(whole.usage.inputTokens > 5 && whole.usage.outputTokens > 1);
      const streamed = streamText({ model, prompt: "Weather?", ...quiet, ...reasoning });
      let text = "";
      for await (const part of streamed.textStream) text += part;
      assert.deepEqual([text, await streamed.reasoningText], ["Sunny.", "Rome."]);
      assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);
    });

    it("runs tools by its own loop, whole and streamed", async () => {
      const seen: unknown[] = [];
      const tools = {
        get_weather: tool({
          description: "The weather of a city.",
          inputSchema: z.object({ city: z.string() }),
          execute: async (given: unknown) => {
            seen.push(given);
            return "sunny, 25";
          },
        }),
      };
      const script = [`<think>Rome.</think>${call("get_weather", { city: "Rome" })}`, "It is sunny."];
      const options = { model, prompt: "Weather in Rome?", tools, stopWhen: stepCountIs(3), ...quiet, ...reasoning };
      scripted.says(...script);
      const whole = await generateText(options);
      assert.deepEqual([whole.text, whole.steps.length], ["It is sunny.", 2]);
      scripted.says(...script);
      const streamed = streamText(options);
      await streamed.consumeStream();
      assert.equal(await streamed.text, "It is sunny.");
      assert.deepEqual(seen, [{ city: "Rome" }, { city: "Rome" }]);
      const prompt = await scripted.prompt();
      const history = `<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>\n`;
      assert.ok(prompt.includes(`${history}<|im_start|>tool\nsunny, 25<|im_end|>`), prompt);
      assert.ok(prompt.includes("<think>Rome.</think>"), "what was thought comes back");
    });

    it("has objects of a schema", async () => {
      scripted.says('{"city":"Rome","days":3}');
      const schema = z.object({ city: z.string(), days: z.number() });
      const { object } = await generateObject({ model, schema, prompt: "Where?", ...quiet });
      assert.deepEqual(object, { city: "Rome", days: 3 });
      assert.equal(scripted.request.constraint?.kind, "json_schema");
    });

    it("tells of errors, and ends the work when it leaves", async () => {
      const refused = generateText({ model, prompt: "word ".repeat(6000), ...quiet });
      await assert.rejects(refused, (error: Untyped) => error.statusCode === 400 && /context/.test(error.message));
      scripted.says((job) => job.token("One"));
      const leave = new AbortController();
      const streamed = streamText({ model, prompt: "Go", abortSignal: leave.signal, ...quiet });
      for await (const part of streamed.fullStream) if (part.type === "text-delta") leave.abort();
      const job = scripted.engine.jobs.at(-1)!;
      await until(() => job.cancelled, "the job is cancelled");
    });
  });
}

describe("npm ai, embeddings", { skip: needsThreads || skip }, () => {
  it("embeds texts", async () => {
    const { url } = await serveForTests({ modelPath: demoModel });
    const at = `${url}/v1`;
    const models = [
      compatible.module.createOpenAICompatible({ name: "local", baseURL: at }).textEmbeddingModel("demo"),
      openai.module.createOpenAI({ baseURL: at, apiKey: "none" }).textEmbeddingModel("demo"),
    ];
    const found = [];
    for (const model of models) {
      const { embeddings } = await ai.module.embedMany({ model, values: ["a king", "a queen"], maxRetries: 0 });
      assert.equal(embeddings.length, 2);
      found.push(embeddings[0]);
    }
    assert.deepEqual(found[0], found[1]);
  });
});
