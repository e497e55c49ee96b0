/** npm `openai`, unmodified, speaks the Responses API: items, events, tools of every kind, what is stored, errors. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import OpenAI from "openai";
import { HundredweightError } from "../../src/errors.js";
import type { FakeJob } from "../server/fake-engine.js";
import { postJson, until } from "../server/support.js";
import { call, Scripted, type Untyped } from "./scripted.js";

const weather = {
  type: "function",
  name: "get_weather",
  description: "The weather of a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  strict: false,
};

describe("npm openai, responses", () => {
  let scripted: Scripted;
  let client: Untyped;
  const model = "scripted";
  const input = "Weather in Rome?";

  before(async () => {
    scripted = await Scripted.start();
    client = new OpenAI({ baseURL: `${scripted.server.url}/v1`, apiKey: "none", maxRetries: 0 });
  });

  const create = (more: object): Promise<Untyped> => client.responses.create({ model, input, ...more });

  it("answers in items, and goes on from what it stored", async () => {
    scripted.says("<think>Rome it is.</think>Sunny.", "Yes.", "No.");
    const first = await create({ instructions: "Be brief.", metadata: { a: "b" } });
    assert.match(first.id, /^resp_/);
    assert.deepEqual([first.object, first.status, first.output_text], ["response", "completed", "Sunny."]);
    assert.deepEqual(
      first.output.map(({ type, content }: Untyped) => [type, content[0].type, content[0].text]),
      [
        ["reasoning", "reasoning_text", "Rome it is."],
        ["message", "output_text", "Sunny."],
      ],
    );
    assert.deepEqual([first.metadata, first.instructions, first.store], [{ a: "b" }, "Be brief.", true]);
    assert.ok(first.usage.output_tokens_details.reasoning_tokens > 0);
    assert.equal(first.usage.total_tokens, first.usage.input_tokens + first.usage.output_tokens);
    const second = await create({ input: "Really?", previous_response_id: first.id });
    assert.equal(second.output_text, "Yes.");
    const prompt = await scripted.prompt();
    assert.ok(
      prompt.endsWith(
        "user\nWeather in Rome?<|im_end|>\n<|im_start|>assistant\n<think>Rome it is.</think>Sunny.<|im_end|>\n" +
          "<|im_start|>user\nReally?<|im_end|>\n<|im_start|>assistant\n",
      ),
      prompt,
    );
    assert.ok(!prompt.includes("Be brief."), "instructions are of one turn");
    const third = await create({
      input: [
        { type: "item_reference", id: first.output[1].id },
        { role: "user", content: "?" },
      ],
    });
    assert.equal(third.output_text, "No.");
    assert.ok((await scripted.prompt()).includes("assistant\nSunny.<|im_end|>"));
  });

  it("gives back what is stored, lists its input, and forgets it", async () => {
    scripted.says("A.", "B.");
    const made = await create({ input: [{ role: "user", content: [{ type: "input_text", text: "Hi" }] }] });
    const { output_text: _, ...got } = await client.responses.retrieve(made.id);
    assert.deepEqual(got, JSON.parse(JSON.stringify({ ...made, output_text: undefined })));
    const items = await client.responses.inputItems.list(made.id);
    assert.deepEqual(
      items.data.map(({ role, content }: Untyped) => [role, content[0].text]),
      [["user", "Hi"]],
    );
    await client.responses.delete(made.id);
    await assert.rejects(client.responses.retrieve(made.id), OpenAI.NotFoundError);
    const gone = create({ previous_response_id: made.id });
    await assert.rejects(gone, (error: Untyped) => error.code === "previous_response_not_found");
    const unstored = await create({ store: false });
    assert.equal(unstored.store, false);
    await assert.rejects(client.responses.retrieve(unstored.id), OpenAI.NotFoundError);
  });

  it("streams numbered events, from which the library makes the same response", async () => {
    scripted.says(`<think>Rome.</think>Let me see.\n${call("get_weather", { city: "Rome" })}`);
    const events: Untyped[] = [];
    const stream = client.responses.stream({ model, input, tools: [weather] });
    stream.on("event", (event: Untyped) => events.push(event));
    const final = await stream.finalResponse();
    assert.deepEqual(
      events.map((event) => event.sequence_number),
      events.map((_, i) => i),
    );
    const types = events.map(({ type, item }) => [type.replace("response.", ""), item?.type ?? ""].join(" "));
    assert.deepEqual(
      types.filter((type, i) => type !== types[i - 1]),
      [
        "created ",
        "in_progress ",
        "output_item.added reasoning",
        "content_part.added ",
        "reasoning_text.delta ",
        "reasoning_text.done ",
        "content_part.done ",
        "output_item.done reasoning",
        "output_item.added message",
        "content_part.added ",
        "output_text.delta ",
        "output_text.done ",
        "content_part.done ",
        "output_item.done message",
        "output_item.added function_call",
        "function_call_arguments.delta ",
        "function_call_arguments.done ",
        "output_item.done function_call",
        "completed ",
      ],
    );
    const [, message, called] = final.output;
    assert.deepEqual([message.content[0].text, called.name], ["Let me see.", "get_weather"]);
    assert.deepEqual(JSON.parse(called.arguments), { city: "Rome" });
    assert.deepEqual(
      final.output.map(({ id }: Untyped) => id),
      events.flatMap(({ type, item }) => (type === "response.output_item.done" ? [item.id] : [])),
    );
  });

  it("tells log-probabilities of the text, and of nothing else", async () => {
    const include = ["message.output_text.logprobs"];
    const says = (job: FakeJob): void => {
      const pieces = ["<think>", "so", "</think>", "It", " is", "<", "tool_call>"];
      for (const [i, text] of [...pieces, '\n{"name": "get_weather", "arguments": {}}\n</tool_call>'].entries()) {
        job.event({
          kind: "token",
          id: 65 + i,
          text,
          logprobs: { id: 65 + i, logprob: -i, top: [{ id: 97, logprob: -0.5 }] },
        });
      }
      job.finish();
    };
    scripted.says(says, says);
    const first = await create({ include, top_logprobs: 1, tools: [weather] });
    assert.equal(scripted.request.logprobs, 1);
    const [, message] = first.output;
    const told = message.content[0].logprobs;
    assert.deepEqual(
      told.map(({ logprob, top_logprobs: top }: Untyped) => [logprob, top.length, top[0].logprob]),
      [
        [-3, 1, -0.5],
        [-4, 1, -0.5],
      ],
    );
    assert.ok(told.every(({ token, bytes }: Untyped) => Buffer.from(bytes).toString() === token));
    const stream = client.responses.stream({ model, input, include, top_logprobs: 1, tools: [weather] });
    const deltas: Untyped[] = [];
    stream.on("response.output_text.delta", (event: Untyped) => deltas.push(...event.logprobs));
    const final = await stream.finalResponse();
    assert.deepEqual([deltas, final.output[1].content[0].logprobs], [told, told]);
    assert.equal(final.top_logprobs, 1);
  });

  it("makes a conversation short, and goes on from that", async () => {
    scripted.says("Rome: sunny, 25 degrees.", "Yes.");
    const history = [
      { role: "user", content: "Weather in Rome?" },
      { type: "function_call", call_id: "call_1", name: "get_weather", arguments: '{"city": "Rome"}' },
      { type: "function_call_output", call_id: "call_1", output: "sunny, 25" },
    ];
    const made = await client.responses.compact({ model, input: history, instructions: "Be brief.", tools: [weather] });
    const asked = await scripted.prompt();
    assert.ok(asked.includes("get_weather") && asked.includes("sunny, 25") && asked.includes("Summarize"), asked);
    assert.deepEqual([made.object, made.output.length], ["response.compaction", 2]);
    const [said, summary] = made.output;
    assert.deepEqual([said.role, said.content[0].text, summary.type], ["user", "Weather in Rome?", "compaction"]);
    assert.ok(!summary.encrypted_content.includes("sunny") && made.usage.output_tokens > 0);
    const next = await create({ input: [...made.output, { role: "user", content: "Really?" }] });
    assert.equal(next.output_text, "Yes.");
    const prompt = await scripted.prompt();
    assert.ok(/Weather in Rome\?[\s\S]*Summary of[\s\S]*Rome: sunny, 25 degrees\.[\s\S]*Really\?/.test(prompt), prompt);
    assert.ok(!prompt.includes("get_weather"), "calls and results are in the summary");
    scripted.says("Twice.");
    const again = await client.responses.compact({
      model,
      input: [...made.output, { role: "user", content: "Really?" }],
    });
    assert.deepEqual(
      again.output.map(({ type, content }: Untyped) => [type, content?.[0].text]),
      [
        ["message", "Weather in Rome?"],
        ["message", "Really?"],
        ["compaction", undefined],
      ],
    );
    const foreign = [
      { type: "compaction", encrypted_content: "gAAAA" },
      { role: "user", content: "Hi" },
    ];
    scripted.says("Hello.");
    const { response } = await client.responses.create({ model, input: foreign }).withResponse();
    assert.match(response.headers.get("x-hundredweight-warnings") ?? "", /another server/);
  });

  it("makes a round trip with a function, all items sent back", async () => {
    const include = ["reasoning.encrypted_content"];
    const more = { tools: [weather], store: false, include, reasoning: { summary: "auto" } };
    scripted.says(`<think>Rome it is.</think>${call("get_weather", { city: "Rome" })}`, "It is sunny.");
    const first = await create(more);
    const [thought, called] = first.output;
    assert.deepEqual(thought.summary, [{ type: "summary_text", text: "Rome it is." }]);
    assert.equal(thought.content, undefined);
    const { summary: _, ...unread } = thought;
    const result = { type: "function_call_output", call_id: called.call_id, output: "sunny, 25" };
    const history = [{ role: "user", content: input }, { ...unread, summary: [] }, called, result];
    const second = await create({ ...more, input: history });
    assert.equal(second.output_text, "It is sunny.");
    const prompt = await scripted.prompt();
    assert.ok(
      prompt.includes(
        '<think>Rome it is.</think><tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n' +
          "</tool_call><|im_end|>\n<|im_start|>tool\nsunny, 25<|im_end|>",
      ),
      prompt,
    );
  });

  it("has custom tools and tools of a namespace", async () => {
    const patch = {
      type: "custom",
      name: "apply_patch",
      description: "Takes a patch.",
      format: { type: "grammar", syntax: "lark", definition: 'start: "*" /.+/' },
    };
    const space = {
      type: "namespace",
      name: "mcp__docs",
      description: "Docs.",
      tools: [{ ...weather, name: "search" }],
    };
    const tools = [patch, space, { type: "web_search" }];
    scripted.says(
      call("apply_patch", { input: "*** Begin" }) + call("mcp__docs__search", { city: "x" }),
      call("apply_patch", { input: "*** Begin" }),
      "Done.",
    );
    const { data, response } = await client.responses.create({ model, input, tools }).withResponse();
    assert.match(response.headers.get("x-hundredweight-warnings"), /tools of type 'web_search' run elsewhere/);
    const [custom, spaced] = data.output;
    assert.deepEqual([custom.type, custom.name, custom.input], ["custom_tool_call", "apply_patch", "*** Begin"]);
    assert.deepEqual([spaced.type, spaced.name, spaced.namespace], ["function_call", "search", "mcp__docs"]);
    assert.ok((await scripted.prompt()).includes("follows this grammar"));
    const stream = await create({ tools, stream: true });
    const seen: Untyped[] = [];
    for await (const event of stream) seen.push(event);
    const [done] = seen.filter(({ type }) => type === "response.custom_tool_call_input.done");
    assert.equal(done.input, "*** Begin");
    const results = data.output.map(({ type, call_id: id }: Untyped) => ({
      type: `${type}_output`,
      call_id: id,
      output: "ok",
    }));
    await create({ tools, input: [{ role: "user", content: input }, ...data.output, ...results] });
    const prompt = await scripted.prompt();
    assert.ok(prompt.includes('{"name": "apply_patch", "arguments": {"input": "*** Begin"}}'), prompt);
    assert.ok(prompt.includes('{"name": "mcp__docs__search", "arguments": {"city": "x"}}'), prompt);
  });

  it("obeys every form of tool_choice", async () => {
    const tools = [weather, { ...weather, name: "other" }];
    const prompted = async (choice: unknown): Promise<string> => {
      scripted.says("ok");
      await create({ tools, tool_choice: choice });
      return scripted.prompt();
    };
    assert.ok((await prompted("none")).includes("get_weather"));
    assert.ok((await prompted("required")).endsWith('<tool_call>\n{"name": "'));
    assert.ok((await prompted({ type: "function", name: "other" })).endsWith('{"name": "other", "arguments": '));
    const allowed = { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "other" }] };
    assert.ok((await prompted(allowed)).includes("get_weather"), "which tools are allowed changes no prompt");
    const { constraint } = scripted.request;
    assert.ok(constraint?.kind === "shape" && !JSON.stringify(constraint.shape).includes("get_weather"));
    for (const choice of [{ type: "web_search" }, { type: "function", name: "gone" }, { ...allowed, tools: [] }]) {
      await assert.rejects(create({ tools, tool_choice: choice }), OpenAI.BadRequestError, JSON.stringify(choice));
    }
  });

  it("has answers of a form, and says when one is cut", async () => {
    const schema = {
      type: "object",
      properties: { a: { type: "integer" } },
      required: ["a"],
      additionalProperties: false,
    };
    scripted.says('{"a":1}', (job) => {
      job.token("Once");
      job.finish("length");
    });
    const format = { type: "json_schema", name: "x", schema, strict: true };
    const formed = await client.responses.parse({ model, input, text: { format } });
    assert.deepEqual(JSON.parse(formed.output_text), { a: 1 });
    const { constraint } = scripted.request;
    assert.ok(constraint?.kind === "json_schema" && constraint.options?.strict === true);
    const cut = await create({ max_output_tokens: 1 });
    assert.deepEqual([cut.status, cut.incomplete_details], ["incomplete", { reason: "max_output_tokens" }]);
    assert.equal(cut.output[0].status, "incomplete");
  });

  it("counts input, tools included, and refuses what it cannot do", async () => {
    const count = async (more: object): Promise<number> =>
      (await client.responses.inputTokens.count({ model, input, ...more })).input_tokens;
    assert.ok((await count({ tools: [weather] })) > (await count({})));
    scripted.says("ok");
    assert.equal(await count({}), (await create({})).usage.input_tokens);
    const image = [
      {
        role: "user",
        content: [
          { type: "input_text", text: "?" },
          { type: "input_image", image_url: "x" },
        ],
      },
    ];
    const wrong: [object, string | RegExp][] = [
      [{ input: image }, /^400 input\[0\]\.content\[1\]: images are not supported/],
      [{ background: true }, /background/],
      [{ conversation: "conv_1" }, /conversation/],
      [{ input: [{ type: "function_call", name: "x" }] }, /input\[0\]\.call_id: is missing/],
      [{ text: { format: { type: "json_schema", name: "x" } } }, /text\.format\.schema/],
      [{ tools: [{ type: "function", name: "no spaces" }] }, /tools\[0\]\.name/],
      [{ input: undefined }, /input: is missing/],
    ];
    for (const [more, message] of wrong) await assert.rejects(create(more), { message: message as RegExp });
  });

  it("tells of a conversation that is too long, whole and streamed", async () => {
    const long = "word ".repeat(6000);
    await assert.rejects(create({ input: long }), { status: 400, code: "context_length_exceeded" });
    const seen: Untyped[] = [];
    for await (const event of await create({ input: long, stream: true })) seen.push(event);
    assert.deepEqual(
      seen.map(({ type }) => type),
      ["response.created", "response.in_progress", "response.failed"],
    );
    assert.equal(seen.at(-1).response.error.code, "context_length_exceeded");
  });

  it("ends the work when the client leaves, and tells of failures after the headers", async () => {
    scripted.says((job) => job.token("One"));
    const stream = await create({ stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") break;
    const job = scripted.engine.jobs.at(-1)!;
    await until(() => job.cancelled, "the job is cancelled");
    const breaks = (broken: Untyped): void => {
      broken.token("One");
      setTimeout(() => broken.fail(new HundredweightError("INTERNAL", "gone")), 20);
    };
    scripted.says(breaks, breaks);
    const seen: Untyped[] = [];
    for await (const event of await create({ stream: true })) seen.push(event);
    assert.equal(seen.at(-1).type, "response.failed");
    assert.equal((await create({})).status, "failed");
  });

  it("is bounded in what it stores", async () => {
    const { ResponseStore } = await import("../../src/server/responses/store.js");
    const store = new ResponseStore();
    const add = (i: number, size: number, previous?: string): boolean =>
      store.add({
        response: { id: `r${i}`, output: [{ id: `o${i}`, text: "x".repeat(size) }] },
        input: [{ id: `i${i}` }],
        previous,
      });
    assert.equal(add(0, 2 ** 20), false, "one is too large");
    for (let i = 1; i <= 9; i++) assert.ok(add(i, 2 ** 19, i > 1 ? `r${i - 1}` : undefined));
    assert.equal(store.get("r1"), undefined, "the oldest went");
    assert.equal(store.history("r9"), undefined, "a turn of it is gone");
    assert.equal(store.lookup()("o1"), undefined);
    assert.equal(store.lookup()("o9")?.id, "o9");
    for (let i = 10; i <= 3000; i++) add(i, 10);
    assert.equal(store.history("r3000")?.length, 2);
    assert.ok(store.get("r1900") === undefined && store.get("r2900") !== undefined);
    const answer = await postJson(`${scripted.server.url}/v1/responses/resp_1/cancel`, {});
    assert.equal(answer.status, 404);
  });
});
