/** npm `openai` calls tools: whole and streamed, every form of `tool_choice`, custom tools, and what goes wrong. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import OpenAI from "openai";
import type { RunningServer } from "../../src/server/index.js";
import { FakeEngine } from "./fake-engine.js";
import { chatModel, type FailureBody, postJson, serveFake, sseEvents } from "./support.js";

/** Writes as models of the Hermes family do. */
const template =
  "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}" +
  "Calls stand between <tool_call> and </tool_call>.<|im_end|>\n{% endif %}" +
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}" +
  "{% for c in m.tool_calls or [] %}<tool_call>\n" +
  "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>{% endfor %}" +
  "<|im_end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

const weather = {
  type: "function" as const,
  function: {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const add = {
  type: "function" as const,
  function: {
    name: "add",
    parameters: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } },
  },
};
const call = (name: string, args: object): string =>
  `<tool_call>\n${JSON.stringify({ name, arguments: args })}\n</tool_call>`;

describe("tools", () => {
  let server: RunningServer;
  let client: OpenAI;
  let engine: FakeEngine;
  /** The next answers, in turn; the last one stays. */
  let script: string[] = [];
  const messages = [{ role: "user" as const, content: "Weather in Rome?" }];
  const model = "tools";

  before(async () => {
    engine = new FakeEngine(
      (job) => {
        const text = script.length > 1 ? script.shift()! : script[0]!;
        for (const piece of text.match(/.{1,3}/gsu) ?? []) job.token(piece);
        job.finish();
      },
      { contextTokens: 4096, chatTemplate: template },
    );
    server = await serveFake(engine, {}, await chatModel(template, model));
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  });

  const prompt = async (): Promise<string> => {
    const { request } = engine.jobs.at(-1)!;
    assert.ok(request.prompt.kind === "tokens");
    const answer = await postJson(`${server.url}/detokenize`, { tokens: [...request.prompt.tokens] });
    return ((await answer.json()) as { content: string }).content;
  };
  const ask = (more: object) => client.chat.completions.create({ model, messages, ...more } as never);

  it("makes a round trip: a call, its result, the answer", async () => {
    script = [`<think>Rome it is.</think>${call("get_weather", { city: "Rome" })}`, "It is sunny."];
    const first = (await client.chat.completions.create({ model, messages, tools: [weather] })).choices[0]!;
    assert.equal(first.finish_reason, "tool_calls");
    const { message } = first;
    assert.equal(message.content, null);
    assert.equal((message as { reasoning_content?: string }).reasoning_content, "Rome it is.");
    const [made] = message.tool_calls!;
    assert.ok(made?.type === "function");
    assert.equal(made.function.name, "get_weather");
    assert.deepEqual(JSON.parse(made.function.arguments), { city: "Rome" });
    assert.ok((await prompt()).includes('"description": "The weather of a city."'));
    const result = { role: "tool" as const, tool_call_id: made.id, content: "sunny, 25" };
    const second = await client.chat.completions.create({
      model,
      messages: [...messages, message, result],
      tools: [weather],
    });
    assert.deepEqual([second.choices[0]!.message.content, second.choices[0]!.finish_reason], ["It is sunny.", "stop"]);
    const history = await prompt();
    assert.ok(history.includes('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'));
    assert.ok(history.includes("<|im_start|>tool\nsunny, 25<|im_end|>"), history);
  });

  it("runs tools by the library's own loop", async () => {
    script = [call("add", { a: 2, b: 3 }), "The sum is 5."];
    const seen: unknown[] = [];
    const runner = client.chat.completions.runTools({
      model,
      messages: [{ role: "user", content: "2 + 3?" }],
      tools: [
        {
          type: "function",
          function: {
            ...add.function,
            description: "Adds two numbers.",
            parse: JSON.parse as (text: string) => { a: number; b: number },
            function: (given: { a: number; b: number }) => {
              seen.push(given);
              return String(given.a + given.b);
            },
          },
        },
      ],
    });
    assert.equal(await runner.finalContent(), "The sum is 5.");
    assert.deepEqual(seen, [{ a: 2, b: 3 }]);
    assert.ok((await prompt()).includes("<|im_start|>tool\n5<|im_end|>"));
  });

  it("streams calls: index, id and name once, then the arguments in pieces", async () => {
    script = [`Let me see.\n${call("get_weather", { city: "Rome" })}\n${call("add", { a: 1, b: 2 })}`];
    const tools = [weather, add];
    const stream = await client.chat.completions.create({ model, messages, tools, stream: true });
    const calls: { id: string; name: string; arguments: string; pieces: number }[] = [];
    let content = "";
    let reason: string | null | undefined;
    let roles = 0;
    for await (const { choices } of stream) {
      const { delta, finish_reason: ended } = choices[0]!;
      reason = ended ?? reason;
      content += delta.content ?? "";
      if (delta.role !== undefined) roles++;
      for (const part of delta.tool_calls ?? []) {
        if (part.id !== undefined) {
          assert.equal(part.index, calls.length, "a call begins once, in order");
          assert.equal(part.type, "function");
          calls.push({ id: part.id, name: part.function!.name!, arguments: "", pieces: 0 });
        } else assert.equal(part.function?.name, undefined);
        calls[part.index]!.arguments += part.function?.arguments ?? "";
        calls[part.index]!.pieces++;
      }
    }
    assert.deepEqual([content, reason, roles], ["Let me see.", "tool_calls", 1]);
    assert.deepEqual(
      calls.map(({ name, arguments: json }) => [name, JSON.parse(json)]),
      [
        ["get_weather", { city: "Rome" }],
        ["add", { a: 1, b: 2 }],
      ],
    );
    assert.equal(new Set(calls.map(({ id }) => id)).size, 2);
    assert.ok(
      calls.every(({ pieces }) => pieces > 2),
      "arguments come while they are written",
    );
    const final = await client.chat.completions.stream({ model, messages, tools }).finalChatCompletion();
    assert.deepEqual(
      final.choices[0]!.message.tool_calls!.map((made) => made.type === "function" && made.function.name),
      ["get_weather", "add"],
    );
  });

  it("obeys every form of tool_choice", async () => {
    const text = call("add", { a: 1 });
    script = [text];
    const tools = [weather, add];
    const none = (await ask({ tools, tool_choice: "none" })).choices[0]!;
    assert.deepEqual([none.message.content, none.message.tool_calls, none.finish_reason], [text, undefined, "stop"]);
    assert.ok((await prompt()).includes("get_weather"), "the beginning of the prompt is what it was with tools");
    const { constraint } = engine.jobs.at(-1)!.request;
    assert.ok(constraint?.kind === "shape" && constraint.never === true);
    script = ['add", "arguments": {"a": 1}}\n</tool_call>'];
    const required = (await ask({ tools, tool_choice: "required" })).choices[0]!;
    assert.ok((await prompt()).endsWith('<|im_start|>assistant\n<tool_call>\n{"name": "'));
    assert.equal((required.message.tool_calls![0] as { function: { name: string } }).function.name, "add");
    script = ['{"city": "Rome"}}\n</tool_call>'];
    const named = { type: "function", function: { name: "get_weather" } };
    const one = (await ask({ tools, tool_choice: named })).choices[0]!;
    assert.ok((await prompt()).endsWith('{"name": "get_weather", "arguments": '));
    assert.deepEqual((one.message.tool_calls![0] as { function: object }).function, {
      name: "get_weather",
      arguments: '{"city": "Rome"}',
    });
    script = [text];
    const allowed = { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [named] } };
    const refused = (await ask({ tools, tool_choice: allowed })).choices[0]!;
    assert.equal(refused.message.tool_calls, undefined, "add is not allowed");
    assert.ok((await prompt()).includes('"add"'), "which tools are allowed changes no prompt");
    script = [text + text];
    const single = (await ask({ tools, parallel_tool_calls: false })).choices[0]!;
    assert.equal(single.message.tool_calls!.length, 1);
    script = [text + text];
    assert.equal((await ask({ tools })).choices[0]!.message.tool_calls!.length, 2);
  });

  it("has custom tools, which take a text", async () => {
    const patch = { type: "custom", custom: { name: "apply_patch", description: "Takes a patch." } };
    script = [call("apply_patch", { input: '*** "Begin"\n+x' })];
    const { message } = (await ask({ tools: [patch] })).choices[0]!;
    const [made] = message.tool_calls!;
    assert.deepEqual(made, { id: made!.id, type: "custom", custom: { name: "apply_patch", input: '*** "Begin"\n+x' } });
    let input = "";
    const stream = (await ask({ tools: [patch], stream: true })) as unknown as AsyncIterable<{
      choices: { delta: { tool_calls?: { custom?: { input?: string } }[] } }[];
    }>;
    for await (const { choices } of stream) input += choices[0]?.delta.tool_calls?.[0]?.custom?.input ?? "";
    assert.equal(input, '*** "Begin"\n+x');
    script = ["done"];
    const result = { role: "tool", tool_call_id: made!.id, content: "ok" };
    await ask({ tools: [patch], messages: [...messages, message, result] });
    assert.ok((await prompt()).includes('"arguments": {"input": "*** \\"Begin\\"\\n+x"}'));
  });

  it("gives a call that cannot be read as text, with a warning, and one that is cut as it is", async () => {
    const broken = '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>';
    script = [broken];
    const whole = (await ask({ tools: [weather] })) as {
      choices: { message: { content: string } }[];
      warnings?: string[];
    };
    assert.equal(whole.choices[0]!.message.content, broken);
    assert.match(whole.warnings![0]!, /could not be read/);
    const streamed = await postJson(`${server.url}/v1/chat/completions`, { messages, tools: [weather], stream: true });
    const events = sseEvents(await streamed.text()).filter((event) => event.startsWith("data: {"));
    const content = events.map((event) => JSON.parse(event.slice(6)).choices[0]?.delta.content ?? "").join("");
    assert.equal(content, broken);
    const cut = new FakeEngine(
      (job) => {
        job.token('<tool_call>{"name": "add", "arguments": {"a": 1');
        job.finish("length");
      },
      { contextTokens: 4096, chatTemplate: template },
    );
    const other = await serveFake(cut, {}, await chatModel(template, model));
    const answer = await postJson(`${other.url}/v1/chat/completions`, { messages, tools: [add] });
    const [choice] = (
      (await answer.json()) as { choices: { message: { tool_calls: { function: object }[] }; finish_reason: string }[] }
    ).choices;
    assert.deepEqual(
      [choice!.message.tool_calls[0]!.function, choice!.finish_reason],
      [{ name: "add", arguments: '{"a": 1' }, "length"],
    );
  });

  it("refuses what it cannot do, and names it", async () => {
    const part = (item: object) => ({ messages: [{ role: "user", content: [item] }] });
    const cases: readonly [body: object, param: string, message: RegExp][] = [
      [part({ type: "image_url", image_url: { url: "data:" } }), "messages[0].content[0]", /images are not supported/],
      [part({ type: "input_audio", input_audio: {} }), "messages[0].content[0]", /audio/],
      [part({ type: "file", file: {} }), "messages[0].content[0]", /files/],
      [{ tools: [{ type: "web_search" }] }, "tools[0].type", /./],
      [{ tools: [{ type: "function", function: { name: "a b" } }] }, "tools[0].function.name", /letters/],
      [{ tool_choice: "required" }, "tool_choice", /no tools/],
      [{ tools: [add], tool_choice: { type: "function", function: { name: "other" } } }, "tool_choice", /'other'/],
      [{ functions: [{ name: "f" }] }, "functions", /tools/],
    ];
    for (const [body, param, message] of cases) {
      const answer = await postJson(`${server.url}/v1/chat/completions`, { messages, ...body });
      assert.equal(answer.status, 400, param);
      const { error } = (await answer.json()) as FailureBody;
      assert.ok(String(error.param).startsWith(param), `${param}: ${error.param} ${error.message}`);
      assert.match(error.message, message);
    }
  });

  it("takes the first of several tools of one name, and says so", async () => {
    script = [call("add", { a: 1 })];
    const other = { type: "function", function: { name: "add", description: "Another one." } };
    const answer = await postJson(`${server.url}/v1/chat/completions`, { messages, tools: [add, other] });
    assert.match(answer.headers.get("x-hundredweight-warnings") ?? "", /several tools 'add'/);
    assert.ok(!(await prompt()).includes("Another one."));
  });

  it("shows the prompt with tools in it", async () => {
    const answer = await postJson(`${server.url}/apply-template`, {
      messages,
      tools: [weather],
      tool_choice: "required",
    });
    const { prompt: shown } = (await answer.json()) as { prompt: string };
    assert.ok(shown.includes('"name": "get_weather"') && shown.endsWith('<tool_call>\n{"name": "'), shown);
    const barred = await postJson(`${server.url}/apply-template`, { messages, tools: [weather], tool_choice: "none" });
    const { prompt: same } = (await barred.json()) as { prompt: string };
    assert.ok(same.includes('"name": "get_weather"') && shown.startsWith(same), "the same beginning");
  });
});
