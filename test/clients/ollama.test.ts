/** npm `ollama`, unmodified: chats, streams, tools, thinking, forms, generate in all its ways, vectors, models. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { until } from "../server/support.js";
import { call, load, Scripted, type Untyped } from "./scripted.js";

const { module, skip } = await load("ollama");
const { Ollama } = module;

const tool = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const messages = [{ role: "user", content: "Weather in Rome?" }];

describe("npm ollama", { skip }, () => {
  let scripted: Scripted;
  let client: Untyped;
  const model = "scripted:latest";

  before(async () => {
    scripted = await Scripted.start();
    client = new Ollama({ host: scripted.server.url });
  });

  const all = async (stream: AsyncIterable<Untyped>): Promise<Untyped[]> => {
    const parts: Untyped[] = [];
    for await (const part of stream) parts.push(part);
    return parts;
  };

  it("answers, whole and in lines, with counts and durations", async () => {
    scripted.says("Sunny.", "Sunny.");
    const whole = await client.chat({
      model,
      messages,
      options: { num_predict: 7, seed: 3, stop: ["!"] },
      keep_alive: "5m",
    });
    assert.deepEqual(whole.message, { role: "assistant", content: "Sunny." });
    assert.deepEqual([whole.model, whole.done, whole.done_reason, whole.eval_count], [model, true, "stop", 2]);
    assert.ok(whole.prompt_eval_count > 10 && whole.total_duration > 0 && whole.eval_duration > 0);
    const { maxTokens, stop, sampling } = scripted.request;
    assert.deepEqual([maxTokens, stop, sampling.seed], [7, ["!"], 3]);
    const parts = await all(await client.chat({ model, messages, stream: true }));
    assert.equal(parts.map(({ message }) => message.content).join(""), "Sunny.");
    assert.deepEqual(
      parts.map(({ done }) => done),
      [false, false, true],
    );
    assert.equal(parts.at(-1).prompt_eval_count, whole.prompt_eval_count);
  });

  it("tells thinking apart, and asks for it or not", async () => {
    scripted.says("<think>Rome is warm.</think>Sunny.", "<think>Warm.</think>Yes.");
    const { message } = await client.chat({ model, messages, think: true });
    assert.deepEqual([message.thinking, message.content], ["Rome is warm.", "Sunny."]);
    const parts = await all(await client.chat({ model, messages, think: "low", stream: true }));
    assert.equal(parts.map(({ message: part }) => part.thinking ?? "").join(""), "Warm.");
    assert.equal(parts.map(({ message: part }) => part.content).join(""), "Yes.");
  });

  it("calls tools and takes results by name, in any order", async () => {
    scripted.says(`${call("get_weather", { city: "Rome" })}${call("get_weather", { city: "Oslo" })}`, "Both fine.");
    const { message } = await client.chat({ model, messages, tools: [tool] });
    assert.deepEqual(
      message.tool_calls.map((one: Untyped) => one.function.arguments),
      [{ city: "Rome" }, { city: "Oslo" }],
    );
    const results = ["12 degrees", "3 degrees"].map((content) => ({ role: "tool", content, tool_name: "get_weather" }));
    const answer = await client.chat({ model, messages: [...messages, message, ...results], tools: [tool] });
    assert.equal(answer.message.content, "Both fine.");
    const prompt = await scripted.prompt();
    assert.match(prompt, /"city": "Rome"[\s\S]*"city": "Oslo"[\s\S]*12 degrees[\s\S]*3 degrees/);
  });

  it("streams a call whole", async () => {
    scripted.says(call("get_weather", { city: "Rome" }));
    const parts = await all(await client.chat({ model, messages, tools: [tool], stream: true }));
    const calls = parts.flatMap(({ message }) => message.tool_calls ?? []);
    assert.deepEqual(
      calls.map((one: Untyped) => one.function),
      [{ index: 0, name: "get_weather", arguments: { city: "Rome" } }],
    );
    assert.equal(parts.at(-1).done_reason, "stop");
  });

  it("holds answers to a form", async () => {
    scripted.says('{"a":1}', "{}");
    const schema = { type: "object", properties: { a: { type: "integer" } } };
    await client.chat({ model, messages, format: schema });
    assert.deepEqual((scripted.request.constraint as Untyped).schema, schema);
    await client.chat({ model, messages, format: "json" });
    assert.deepEqual((scripted.request.constraint as Untyped).schema, { type: "object" });
  });

  it("generates by template, raw, by a template of the request's, and on from a context", async () => {
    scripted.says("one", "two", "three", "four");
    const first = await client.generate({ model, prompt: "hi", system: "Be brief." });
    assert.equal(first.response, "one");
    assert.match(await scripted.prompt(), /system\nBe brief.<\|im_end\|>\n<\|im_start\|>user\nhi/);
    const raw = await client.generate({ model, prompt: "as it is", raw: true });
    assert.deepEqual([raw.response, raw.context], ["two", undefined]);
    assert.equal((await scripted.prompt()).replace("<s>", ""), "as it is");
    const template = "{{ if .System }}S: {{ .System }}\n{{ end }}U: {{ .Prompt }}";
    await client.generate({ model, prompt: "p", system: "s", template });
    assert.equal((await scripted.prompt()).replace("<s>", ""), "S: s\nU: p");
    await client.generate({ model, prompt: "more", context: first.context });
    const { prompt } = scripted.request as Untyped;
    assert.deepEqual([...prompt.tokens].slice(0, first.context.length), first.context);
    assert.equal([...prompt.tokens].filter((id: number) => id === 0).length, 1, "one beginning of the text");
  });

  it("says whether the model is there when nothing is asked", async () => {
    const loaded = await client.generate({ model, prompt: "" });
    assert.deepEqual([loaded.done, loaded.done_reason, loaded.response], [true, "load", ""]);
    const gone = await client.chat({ model, messages: [], keep_alive: 0 });
    assert.equal(gone.done_reason, "unload");
  });

  it("makes vectors", async () => {
    const { embeddings, prompt_eval_count: count } = await client.embed({ model, input: ["a", "b"] });
    assert.deepEqual([embeddings.length, embeddings[0].length, count], [2, 8, 2]);
    assert.equal((await client.embeddings({ model, prompt: "a" })).embedding.length, 8);
  });

  it("tells of the model", async () => {
    const { models } = await client.list();
    assert.deepEqual(
      models.map(({ name, details }: Untyped) => [name, details.format, details.family]),
      [[model, "gguf", "llama"]],
    );
    const running = (await client.ps()).models[0];
    assert.equal(running.context_length, 4096);
    assert.ok(new Date(running.expires_at).getTime() > Date.now() + 1e12);
    const shown = await client.show({ model });
    assert.deepEqual(shown.capabilities, ["completion", "tools", "thinking", "embedding"]);
    assert.equal(shown.model_info["llama.context_length"], 4096);
    assert.match((await client.version()).version, /^\d+\.\d+\.\d+$/);
    const root = await fetch(scripted.server.url);
    assert.equal(await root.text(), "Ollama is running");
    for (const path of ["/", "/api/tags", "/api/version", "/api/ps"]) {
      assert.equal((await fetch(scripted.server.url + path, { method: "HEAD" })).status, 200, path);
    }
  });

  it("says what it does not do, and what is wrong, in one text", async () => {
    const fails = async (work: Promise<unknown>): Promise<Untyped> =>
      work.then(
        () => assert.fail(),
        (error) => error,
      );
    assert.equal((await fails(client.pull({ model: "https://example.org/x.gguf" }))).status_code, 400);
    for (const work of [
      client.delete({ model }),
      client.copy({ source: "a", destination: "b" }),
      client.push({ model }),
    ]) {
      assert.match((await fails(work)).message, /is off/);
    }
    assert.equal((await fails(client.show({ model: "other" }))).status_code, 404);
    const wrong = await fails(client.chat({ model, messages: [{ role: "user", content: "x", images: ["aa=="] }] }));
    assert.deepEqual([wrong.status_code, /images/.test(wrong.error)], [400, true]);
    const long = await fails(client.chat({ model, messages: [{ role: "user", content: "word ".repeat(9000) }] }));
    assert.match(long.error, /exceeds the available context size/);
    assert.equal((await fails(client.generate({ model, prompt: "a", suffix: "b" }))).status_code, 400);
    scripted.says((job) => {
      job.token("half");
      job.cancel();
    });
    const broken = await fails(client.chat({ model, messages, stream: true }).then((stream: Untyped) => all(stream)));
    assert.match(broken.message, /stopped|cancel/i);
  });

  it("frees the engine when a client leaves", async () => {
    scripted.says((job) => job.token("half"));
    const stream = await client.chat({ model, messages, stream: true });
    for await (const _ of stream) break;
    client.abort();
    await until(() => scripted.engine.jobs.at(-1)!.cancelled, "the job is cancelled");
  });

  it("wants the key where the server has one, and keeps other pages out", async () => {
    const kept = await Scripted.start({ apiKeys: ["secret"] });
    const refused = await fetch(`${kept.server.url}/api/tags`);
    assert.deepEqual([refused.status, typeof ((await refused.json()) as Untyped).error], [401, "string"]);
    const known = new Ollama({ host: kept.server.url, headers: { authorization: "Bearer secret" } });
    assert.equal((await known.list()).models.length, 1);
    const page = await fetch(`${scripted.server.url}/api/tags`, { headers: { origin: "http://evil.example" } });
    assert.equal(page.status, 403);
  });
});
