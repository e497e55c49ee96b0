/** Calls of a model that knows nothing of tools, through npm `openai`: what has to be a call parses and is valid. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Ajv } from "ajv";
import OpenAI from "openai";
import type { RunningServer } from "../../src/server/index.js";
import { chatModel, type FailureBody, needsThreads, postJson, serveForTests } from "./support.js";

const template =
  "{% if tools %}{% for t in tools %}{{ t | tojson }}\n{% endfor %}<tool_call> </tool_call>\n{% endif %}" +
  "{% for m in messages %}{{ m.role }}: {{ m.content or '' }}" +
  "{% for c in m.tool_calls or [] %}<tool_call>\n" +
  "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>" +
  "{% endfor %}\n{% endfor %}" +
  "{% if add_generation_prompt %}assistant: {% endif %}";

const schemas = {
  get_weather: {
    type: "object",
    properties: {
      city: { type: "string", maxLength: 12 },
      unit: { type: "string", enum: ["celsius", "fahrenheit"] },
      days: { type: "integer", minimum: 1, maximum: 14 },
    },
    required: ["city", "unit"],
    additionalProperties: false,
  },
  set_light: {
    type: "object",
    properties: { on: { type: "boolean" }, rooms: { type: "array", items: { enum: ["hall", "bath"] }, maxItems: 3 } },
    required: ["on"],
    additionalProperties: false,
  },
};
type Name = keyof typeof schemas;
const tools = Object.entries(schemas).map(([name, parameters]) => ({
  type: "function" as const,
  function: { name, parameters },
}));
const ajv = new Ajv({ strict: false });
const judge = Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, ajv.compile(schema)]));

describe("calls that have to come", { skip: needsThreads }, () => {
  let server: RunningServer;
  let client: OpenAI;
  const model = "demo";
  const messages = [{ role: "user" as const, content: "Do something." }];

  before(async () => {
    server = await serveForTests({ modelPath: await chatModel(template, "calls") });
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  });

  const check = (calls: readonly OpenAI.ChatCompletionMessageToolCall[] | undefined): Name[] => {
    assert.ok(calls !== undefined && calls.length > 0, "no call");
    return calls.map((call) => {
      assert.ok(call.type === "function");
      const { name, arguments: json } = call.function;
      assert.ok(judge[name]!(JSON.parse(json)), `${json}: ${ajv.errorsText(judge[name]!.errors)}`);
      return name as Name;
    });
  };

  it("parse and are valid whatever the model would say", async () => {
    const seen = new Set<Name>();
    for (let seed = 1; seed <= 5; seed++) {
      const single = seed % 2 === 0;
      const { choices } = await client.chat.completions.create({
        model,
        messages,
        tools,
        tool_choice: "required",
        parallel_tool_calls: !single,
        temperature: 2,
        seed,
        max_tokens: 200,
      });
      const { message, finish_reason: reason } = choices[0]!;
      // A model that may call again does not stop by itself.
      const calls = reason === "length" ? message.tool_calls?.slice(0, -1) : message.tool_calls;
      for (const name of check(calls)) seen.add(name);
      if (single) assert.deepEqual([calls?.length, reason], [1, "tool_calls"]);
    }
    assert.deepEqual([...seen].sort(), ["get_weather", "set_light"]);
  });

  it("are of the tool that was named, also streamed", async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const stream = client.chat.completions.stream({
        model,
        messages,
        tools,
        tool_choice: { type: "function", function: { name: "set_light" } },
        temperature: 2,
        seed,
        max_tokens: 200,
      });
      const { message, finish_reason: reason } = (await stream.finalChatCompletion()).choices[0]!;
      assert.deepEqual([check(message.tool_calls), reason], [["set_light"], "tool_calls"]);
    }
  });

  it("are calls or a text of the form that is asked for beside them", async () => {
    const schema = {
      type: "object",
      properties: { sum: { enum: [1, 2, 3] } },
      required: ["sum"],
      additionalProperties: false,
    };
    const valid = ajv.compile(schema);
    const seen = { calls: 0, texts: 0 };
    for (let seed = 1; seed <= 8; seed++) {
      const { choices } = await client.chat.completions.create({
        model,
        messages,
        tools,
        response_format: { type: "json_schema", json_schema: { name: "sum", schema } },
        temperature: 3,
        seed,
        max_tokens: 200,
      });
      const { message, finish_reason: reason } = choices[0]!;
      if (message.tool_calls !== undefined) {
        seen.calls++;
        check(reason === "length" ? message.tool_calls.slice(0, -1) : message.tool_calls);
      } else {
        seen.texts++;
        assert.ok(valid(JSON.parse(message.content!)), message.content!);
      }
    }
    assert.ok(seen.calls > 0 && seen.texts > 0, JSON.stringify(seen));
  });

  it("refuse what strict cannot enforce, by tool and keyword, and tell what they leave out otherwise", async () => {
    const loose = { type: "object", properties: { a: { type: "array", items: {}, uniqueItems: true } } };
    const body = (strict: boolean) => ({
      messages,
      tools: [...tools, { type: "function", function: { name: "loose", parameters: loose, strict } }],
      max_tokens: 4,
    });
    const refused = await postJson(`${server.url}/v1/chat/completions`, body(true));
    assert.equal(refused.status, 400);
    const { error } = (await refused.json()) as FailureBody;
    assert.equal(error.param, "tools[2].function.parameters");
    assert.match(error.message, /uniqueItems at #\/properties\/a/);
    const answered = await postJson(`${server.url}/v1/chat/completions`, body(false));
    assert.equal(answered.status, 200);
    const warnings = answered.headers.get("x-hundredweight-warnings") ?? "";
    assert.match(warnings, /uniqueItems at tools\[2\]\.function\.parameters#\/properties\/a/);
    const custom = {
      type: "custom",
      custom: { name: "p", format: { type: "grammar", syntax: "ebnf", definition: "" } },
    };
    const wrong = await postJson(`${server.url}/v1/chat/completions`, { messages, tools: [custom] });
    assert.equal(((await wrong.json()) as FailureBody).error.param, "tools[0].custom.format.syntax");
  });

  it("follow the grammar of a custom tool", async () => {
    const definition = 'start: "*** Begin\\n" line ~ 1..3 "*** End"\nline: /[+-][a-z]{0,5}/ "\\n"';
    const format = { type: "grammar", grammar: { syntax: "lark", definition } };
    const custom = { type: "custom", custom: { name: "apply_patch", format } };
    const answer = await postJson(`${server.url}/v1/chat/completions`, {
      messages,
      tools: [custom],
      tool_choice: { type: "custom", custom: { name: "apply_patch" } },
      max_tokens: 300,
      temperature: 2,
      seed: 3,
    });
    const { choices } = (await answer.json()) as { choices: { message: { tool_calls: object[] } }[] };
    const [call] = choices[0]!.message.tool_calls as { custom: { input: string } }[];
    assert.match(call!.custom.input, /^\*\*\* Begin\n([+-][a-z]{0,5}\n){1,3}\*\*\* End$/);
  });
});
