/** npm `@anthropic-ai/sdk`, unmodified: conversations, streams, thinking, tools, counts, forms, errors, leaving. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { until } from "../server/support.js";
import { call, load, Scripted, type Untyped } from "./scripted.js";

const { module, skip } = await load("@anthropic-ai/sdk");
const Anthropic = module.default;

const weather = {
  name: "get_weather",
  description: "The weather of a city.",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const messages = [{ role: "user", content: "Weather in Rome?" }];
const ask = { model: "claude-x", max_tokens: 100, messages };

describe("npm @anthropic-ai/sdk", { skip }, () => {
  let scripted: Scripted;
  let client: Untyped;

  before(async () => {
    scripted = await Scripted.start();
    client = new Anthropic({ baseURL: scripted.server.url, apiKey: "none", maxRetries: 0 });
  });

  it("answers, and counts as the API does", async () => {
    scripted.says((job) => {
      for (const text of ["Sun", "ny."]) job.token(text);
      job.finish("stop");
    });
    const { data: message, response } = await client.messages
      .create({ ...ask, system: [{ type: "text", text: "Be brief." }] })
      .withResponse();
    assert.match(message.id, /^msg_/);
    assert.deepEqual(
      [message.type, message.role, message.model, message.stop_reason, message.stop_sequence],
      ["message", "assistant", "scripted", "end_turn", null],
    );
    assert.deepEqual(message.content, [{ type: "text", text: "Sunny.", citations: null }]);
    assert.match(response.headers.get("request-id"), /^req_/);
    assert.match(response.headers.get("x-hundredweight-warnings"), /'claude-x' is not served/);
    const prompt = await scripted.prompt();
    assert.equal(
      prompt.replace("<s>", ""),
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWeather in Rome?<|im_end|>\n<|im_start|>assistant\n",
    );
    const { input_tokens: counted } = await client.messages.countTokens({
      model: "x",
      messages,
      system: "Be brief.",
      tools: [weather],
    });
    assert.ok(counted > message.usage.input_tokens, "tools are counted");
    const same = await client.messages.countTokens({ model: "x", messages, system: "Be brief." });
    assert.equal(same.input_tokens, message.usage.input_tokens);
    assert.equal(message.usage.output_tokens, 2);
  });

  it("counts what was cached apart from the rest", async () => {
    const cached = (reusedTokens: number) => (job: Parameters<Parameters<typeof scripted.says>[0] & object>[0]) => {
      job.token("Yes.");
      job.finish("stop", { reusedTokens });
    };
    scripted.says(cached(0), cached(10), cached(10));
    const first = (await client.messages.create(ask)).usage;
    const second = (await client.messages.create(ask)).usage;
    assert.deepEqual([first.cache_read_input_tokens, second.cache_read_input_tokens], [0, 10]);
    assert.equal(second.input_tokens, first.input_tokens - 10);
    const final = await client.messages.stream(ask).finalMessage();
    assert.deepEqual(
      [final.usage.input_tokens, final.usage.cache_read_input_tokens],
      [second.input_tokens, second.cache_read_input_tokens],
    );
  });

  it("makes a round trip with a tool, thinking kept", async () => {
    scripted.says(`<think>Rome it is.</think>Let me see.\n${call("get_weather", { city: "Rome" })}`, "It is sunny.");
    const tools = [weather];
    const thinking = { type: "enabled", budget_tokens: 1024 };
    const first = await client.messages.create({ ...ask, max_tokens: 2000, tools, thinking });
    assert.deepEqual(
      first.content.map((block: Untyped) => block.type),
      ["thinking", "text", "tool_use"],
    );
    const [thought, said, used] = first.content;
    assert.equal(thought.thinking, "Rome it is.");
    assert.equal(said.text, "Let me see.");
    assert.match(used.id, /^toolu_/);
    assert.deepEqual([used.name, used.input, first.stop_reason], ["get_weather", { city: "Rome" }, "tool_use"]);
    assert.equal(scripted.request.thinking?.budget, 1024);
    assert.ok(first.usage.output_tokens_details.thinking_tokens > 0);
    const result = { type: "tool_result", tool_use_id: used.id, content: [{ type: "text", text: "sunny, 25" }] };
    const second = await client.messages.create({
      ...ask,
      tools,
      messages: [
        ...messages,
        { role: "assistant", content: first.content },
        { role: "user", content: [result, { type: "text", text: "And?" }] },
      ],
    });
    assert.equal(second.content[0].text, "It is sunny.");
    const prompt = await scripted.prompt();
    assert.ok(
      prompt.includes(
        '<think>Rome it is.</think>Let me see.<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n' +
          "</tool_call><|im_end|>\n<|im_start|>tool\nsunny, 25<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>",
      ),
      prompt,
    );
  });

  it("streams blocks as the library gathers them", async () => {
    scripted.says(`<think>Rome.</think>Let me see.\n${call("get_weather", { city: "Rome" })}`);
    const events: Untyped[] = [];
    const stream = client.messages.stream({ ...ask, tools: [weather] });
    stream.on("streamEvent", (event: Untyped) => events.push(event));
    const final = await stream.finalMessage();
    assert.deepEqual(
      final.content.map(({ type, thinking, text, input }: Untyped) => [type, thinking ?? text ?? input]),
      [
        ["thinking", "Rome."],
        ["text", "Let me see."],
        ["tool_use", { city: "Rome" }],
      ],
    );
    assert.ok(final.content[0].signature.length > 10);
    assert.deepEqual([final.stop_reason, final.usage.output_tokens > 10], ["tool_use", true]);
    const types = events.map(({ type, delta, content_block: block }) => [type, delta?.type ?? block?.type].join(" "));
    const distinct = types.filter((type, i) => type !== types[i - 1]);
    assert.deepEqual(distinct, [
      "message_start ",
      "content_block_start thinking",
      "content_block_delta thinking_delta",
      "content_block_delta signature_delta",
      "content_block_stop ",
      "content_block_start text",
      "content_block_delta text_delta",
      "content_block_stop ",
      "content_block_start tool_use",
      "content_block_delta input_json_delta",
      "content_block_stop ",
      "message_delta ",
      "message_stop ",
    ]);
    const pieces = types.filter((type) => type.endsWith("input_json_delta")).length;
    assert.ok(pieces > 2, "arguments come while they are written");
  });

  it("ends for the reasons of the API", async () => {
    const ended = async (line: Parameters<typeof scripted.says>[0], more: object = {}): Promise<unknown[]> => {
      scripted.says(line);
      const { stop_reason: reason, stop_sequence: text } = await client.messages.create({ ...ask, ...more });
      return [reason, text];
    };
    const cut = (tokens: number) => (job: Untyped) => {
      for (let i = 0; i < tokens; i++) job.token("a ");
      job.finish("length");
    };
    assert.deepEqual(await ended(cut(3), { max_tokens: 3 }), ["max_tokens", null]);
    assert.deepEqual(await ended(cut(3), { max_tokens: 100 }), ["model_context_window_exceeded", null]);
    const stopped = (job: Untyped) => {
      job.token("a");
      job.finish("stop", { stopText: "###" });
    };
    assert.deepEqual(await ended(stopped, { stop_sequences: ["###"] }), ["stop_sequence", "###"]);
    assert.deepEqual(scripted.request.stop, ["###"]);
  });

  it("obeys every form of tool_choice, and holds back what is deferred", async () => {
    const add = { name: "add", input_schema: { type: "object", properties: {} } };
    const tools = [weather, add];
    const prompted = async (more: object): Promise<string> => {
      scripted.says("ok");
      await client.messages.create({ ...ask, tools, ...more });
      return scripted.prompt();
    };
    assert.ok((await prompted({ tool_choice: { type: "none" } })).includes("get_weather"), "the prompt stays the same");
    assert.ok(scripted.request.constraint?.kind === "shape" && scripted.request.constraint.never);
    assert.ok((await prompted({ tool_choice: { type: "any" } })).endsWith('<tool_call>\n{"name": "'));
    const named = await prompted({ tool_choice: { type: "tool", name: "add" } });
    assert.ok(named.endsWith('{"name": "add", "arguments": '));
    await prompted({ tool_choice: { type: "auto", disable_parallel_tool_use: true } });
    assert.ok(scripted.request.constraint?.kind === "shape" && scripted.request.constraint.once);
    const deferred = [weather, { ...add, defer_loading: true }];
    assert.ok(!(await prompted({ tools: deferred })).includes('"add"'));
    const search = { type: "tool_use", id: "toolu_1", name: "get_weather", input: {} };
    const found = {
      type: "tool_result",
      tool_use_id: "toolu_1",
      content: [{ type: "tool_reference", tool_name: "add" }],
    };
    const history = [...messages, { role: "assistant", content: [search] }, { role: "user", content: [found] }];
    assert.ok((await prompted({ tools: deferred, messages: history })).includes('"name": "add"'));
    const elsewhere = { type: "web_search_20250305", name: "web_search" };
    assert.ok(!(await prompted({ tools: [weather, elsewhere] })).includes("web_search"));
    const gone = client.messages.create({
      ...ask,
      tools: [weather, elsewhere],
      tool_choice: { type: "tool", name: "web_search" },
    });
    await assert.rejects(gone, (error: Untyped) => error.status === 400 && /no tool 'web_search'/.test(error.message));
  });

  it("takes what agents send: system text in the middle, turns in a row, fields it does not know", async () => {
    scripted.says("ok");
    const { response } = await client.messages
      .create({
        ...ask,
        thinking: { type: "adaptive" },
        output_config: { effort: "max" },
        context_management: { edits: [] },
        betas_of_tomorrow: true,
        messages: [
          { role: "user", content: "One." },
          { role: "user", content: [{ type: "text", text: "Two." }] },
          { role: "system", content: "Hurry." },
          { role: "user", content: [{ type: "document", source: { type: "text", data: "Three." } }] },
        ],
      })
      .withResponse();
    assert.match(response.headers.get("x-hundredweight-warnings"), /unknown parameters ignored: betas_of_tomorrow/);
    const prompt = await scripted.prompt();
    assert.match(prompt, /user\nOne\.\n\nTwo\.<\|im_end\|>[\s\S]*Hurry\.[\s\S]*Three\./);
  });

  it("has answers of a form, and answers that go on", async () => {
    scripted.says('{"city":"Rome"}', " sunny.");
    const schema = { type: "object", properties: { city: { type: "string" } } };
    const formed = await client.messages.create({
      ...ask,
      output_config: { format: { type: "json_schema", schema } },
    });
    assert.deepEqual(JSON.parse(formed.content[0].text), { city: "Rome" });
    const { constraint } = scripted.request;
    assert.ok(constraint?.kind === "json_schema");
    assert.deepEqual(constraint.schema, schema);
    const prefilled = [...messages, { role: "assistant", content: "It is" }];
    const { content } = await client.messages.create({ ...ask, messages: prefilled });
    assert.equal(content[0].text, " sunny.");
    assert.ok((await scripted.prompt()).endsWith("<|im_start|>assistant\nIt is"));
  });

  it("refuses in the shape of the API, and names the part", async () => {
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "" } };
    const fault = async (more: object): Promise<Untyped> => {
      try {
        await client.messages.create({ ...ask, ...more });
      } catch (error) {
        return error;
      }
      return assert.fail("it was taken");
    };
    const refused = await fault({
      messages: [{ role: "user", content: [{ type: "text", text: "See:" }, image] }],
    });
    assert.ok(refused instanceof Anthropic.BadRequestError);
    assert.equal(refused.type, "invalid_request_error");
    assert.match(refused.message, /messages\[0\]\.content\[1\]: images are not supported/);
    assert.match(refused.requestID, /^req_/);
    assert.match((await fault({ temperature: -1 })).message, /temperature/);
    const long = await fault({ messages: [{ role: "user", content: "word ".repeat(6000) }] });
    const [, tokens] = /prompt is too long: (\d+) tokens > 4096 maximum/.exec(long.message) ?? [];
    assert.ok(Number(tokens) > 6000, long.message);
    const longer = await fault({ messages: [{ role: "user", content: "word ".repeat(50_000) }] });
    assert.match(longer.message, /prompt is too long: the prompt has \d+ bytes of text/);
    assert.equal(long.errorCode, "context_length_exceeded");
    const most = await client.messages.countTokens({
      model: "x",
      messages: [{ role: "user", content: "w ".repeat(9e3) }],
    });
    assert.ok(most.input_tokens > 4096, "what does not fit is counted");
    await assert.rejects(client.post("/v1/messages/none"), Anthropic.NotFoundError);
  });

  it("lists the model in its shape", async () => {
    const { data, has_more: more } = await client.models.list({ limit: 1000 });
    assert.deepEqual([data.length, more, data[0].type, data[0].id], [1, false, "model", "scripted"]);
    assert.equal((await client.models.retrieve("scripted")).max_input_tokens, 4096);
    await assert.rejects(client.models.retrieve("other"), Anthropic.NotFoundError);
  });

  it("keeps a stream awake with pings, behind a first event", async () => {
    const slow = await Scripted.start({ keepAliveMs: 30 });
    slow.says((job) => {
      setTimeout(() => {
        job.token("Late.");
        job.finish();
      }, 250);
    });
    const patient = new Anthropic({ baseURL: slow.server.url, apiKey: "none", maxRetries: 0 });
    const raw = await patient.messages.create({ ...ask, stream: true }).asResponse();
    const names = [...(await raw.text()).matchAll(/^event: (.*)$/gm)].map(([, name]) => name);
    assert.equal(names[0], "message_start");
    assert.ok(names.filter((name) => name === "ping").length >= 2, String(names));
    assert.equal(names.at(-1), "message_stop");
    slow.says((job) => {
      setTimeout(() => {
        job.token("Late.");
        job.finish();
      }, 150);
    });
    assert.equal((await patient.messages.stream(ask).finalMessage()).content[0].text, "Late.");
  });

  it("ends the work when the client leaves, and tells of failures in a stream", async () => {
    scripted.says((job) => job.token("One"));
    const stream = client.messages.stream(ask);
    stream.on("text", () => stream.abort());
    await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
    const job = scripted.engine.jobs.at(-1)!;
    await until(() => job.cancelled, "the job is cancelled");
    const { HundredweightError } = await import("../../src/errors.js");
    scripted.says((broken) => {
      broken.token("One");
      setTimeout(() => broken.fail(new HundredweightError("ENGINE_CRASHED" as never, "gone")), 20);
    });
    const failed = client.messages.stream(ask);
    await assert.rejects(failed.finalMessage(), (error: Untyped) => error instanceof Anthropic.APIError);
  });
});
