/** npm `@langchain/openai`, unmodified, by Chat Completions and by Responses. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { z } from "zod";
import { demoModel, needsThreads, serveForTests, until } from "../server/support.js";
import { call, load, Scripted, type Untyped } from "./scripted.js";

const langchain = await load("@langchain/openai");
const tools = await load("@langchain/core/tools");
const skip = langchain.skip || tools.skip;

for (const useResponsesApi of [false, true]) {
  describe(`npm @langchain/openai, ${useResponsesApi ? "responses" : "chat"}`, { skip }, () => {
    let scripted: Scripted;
    let model: Untyped;

    before(async () => {
      scripted = await Scripted.start();
      const configuration = { baseURL: `${scripted.server.url}/v1` };
      const more = useResponsesApi ? { useResponsesApi } : {};
      model = new langchain.module.ChatOpenAI({ model: "x", apiKey: "none", maxRetries: 0, configuration, ...more });
    });

    it("answers, whole and streamed", async () => {
      scripted.says("Sunny.", "Sunny.");
      const message = await model.invoke("Weather?");
      assert.equal(message.text, "Sunny.");
      assert.ok(message.usage_metadata.input_tokens > 5);
      let text = "";
      let usage: Untyped;
      for await (const chunk of await model.stream("Weather?")) {
        text += chunk.text;
        usage = chunk.usage_metadata ?? usage;
      }
      assert.deepEqual([text, usage.output_tokens], ["Sunny.", message.usage_metadata.output_tokens]);
    });

    it("makes a round trip with a tool, streamed as well", async () => {
      const about = { name: "get_weather", description: "Weather.", schema: z.object({ city: z.string() }) };
      const bound = model.bindTools([tools.module.tool(() => "sunny, 25", about)]);
      scripted.says(call("get_weather", { city: "Rome" }), "It is sunny.", call("get_weather", { city: "Rome" }));
      const called = await bound.invoke("Weather in Rome?");
      assert.deepEqual([called.tool_calls[0].name, called.tool_calls[0].args], ["get_weather", { city: "Rome" }]);
      const result = { role: "tool", content: "sunny, 25", tool_call_id: called.tool_calls[0].id };
      const answered = await bound.invoke([{ role: "user", content: "Weather in Rome?" }, called, result]);
      assert.equal(answered.text, "It is sunny.");
      assert.ok((await scripted.prompt()).includes("<|im_start|>tool\nsunny, 25<|im_end|>"));
      let whole: Untyped;
      for await (const chunk of await bound.stream("Weather in Rome?")) whole = whole?.concat(chunk) ?? chunk;
      assert.deepEqual(whole.tool_calls[0].args, { city: "Rome" });
    });

    it("has structured output, by a form and by a call", async () => {
      const schema = z.object({ city: z.string() });
      scripted.says('{"city":"Rome"}');
      assert.deepEqual(await model.withStructuredOutput(schema, { method: "jsonSchema" }).invoke("Where?"), {
        city: "Rome",
      });
      assert.equal(scripted.request.constraint?.kind, "json_schema");
      scripted.says('{"city": "Rome"}}\n</tool_call>');
      const byCall = model.withStructuredOutput(schema, { method: "functionCalling", name: "answer" });
      assert.deepEqual(await byCall.invoke("Where?"), { city: "Rome" });
      assert.ok((await scripted.prompt()).endsWith('{"name": "answer", "arguments": '));
    });

    it("tells of errors, and ends the work when it leaves", async () => {
      await assert.rejects(model.invoke("word ".repeat(6000)), { name: "ContextOverflowError" });
      const image = { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } };
      const wrong = model.invoke([{ role: "user", content: [image] }]);
      await assert.rejects(wrong, (error: Untyped) => error.status === 400 && /not supported/.test(error.message));
      scripted.says((job) => job.token("One"));
      const leave = new AbortController();
      await assert.rejects(async () => {
        for await (const chunk of await model.stream("Go", { signal: leave.signal }))
          if (chunk.text !== "") leave.abort();
      });
      const job = scripted.engine.jobs.at(-1)!;
      await until(() => job.cancelled, "the job is cancelled");
    });
  });
}

describe("npm @langchain/openai, embeddings", { skip: needsThreads || skip }, () => {
  it("embeds texts", async () => {
    const { url } = await serveForTests({ modelPath: demoModel });
    const configuration = { baseURL: `${url}/v1` };
    const embedder = new langchain.module.OpenAIEmbeddings({ model: "demo", apiKey: "none", configuration });
    const [first, second] = await embedder.embedDocuments(["a king", "a queen"]);
    assert.equal(first.length, second.length);
    assert.deepEqual(await embedder.embedQuery("a king"), first);
  });
});
