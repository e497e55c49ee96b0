/**
 * The answer behind a tool's result: a conversation of a question, a call and its result goes on alike in every API,
 * in one piece and streamed. A real model answers it, with the same prompt everywhere.
 */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import type { RunningServer } from "../../src/server/index.js";
import { chatModel, needsThreads, postJson, serveForTests } from "../server/support.js";
import type { Untyped } from "./scripted.js";

const question = "And the king said";
const call = { name: "get_weather", arguments: { city: "Oslo" } };
const said = JSON.stringify(call.arguments);
const result = "sunny, 25";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const described = { name: call.name, description: "The weather of a city." };
const most = 12;

interface Answered {
  readonly text: string;
  /** Tokens of the prompt, evaluated or known from before. */
  readonly prompt: number;
}

interface Dialect {
  readonly name: string;
  readonly path: string;
  readonly body: object;
  readonly whole: (answer: Untyped) => Answered;
  /** @param events objects in the order in which they came */
  readonly streamed: (events: readonly Untyped[]) => Answered;
}

const joined = (pieces: readonly (string | undefined)[]): string => pieces.join("");

const dialects: readonly Dialect[] = [
  {
    name: "Chat Completions",
    path: "/v1/chat/completions",
    body: {
      messages: [
        { role: "user", content: question },
        {
          role: "assistant",
          tool_calls: [{ id: "call_1", type: "function", function: { name: call.name, arguments: said } }],
        },
        { role: "tool", tool_call_id: "call_1", content: result },
      ],
      tools: [{ type: "function", function: { ...described, parameters } }],
      tool_choice: "none",
      stream_options: { include_usage: true },
      temperature: 0,
      max_tokens: most,
    },
    whole: ({ choices, usage }) => ({ text: choices[0].message.content, prompt: usage.prompt_tokens }),
    streamed: (events) => ({
      text: joined(events.map(({ choices }) => choices[0]?.delta.content)),
      prompt: events.at(-1).usage.prompt_tokens,
    }),
  },
  {
    name: "Responses",
    path: "/v1/responses",
    body: {
      input: [
        { role: "user", content: question },
        { type: "function_call", call_id: "call_1", name: call.name, arguments: said },
        { type: "function_call_output", call_id: "call_1", output: result },
      ],
      tools: [{ type: "function", ...described, parameters }],
      tool_choice: "none",
      temperature: 0,
      max_output_tokens: most,
      store: false,
    },
    whole: ({ output, usage }) => ({ text: output.at(-1).content[0].text, prompt: usage.input_tokens }),
    streamed: (events) => ({
      text: joined(events.filter(({ type }) => type === "response.output_text.delta").map(({ delta }) => delta)),
      prompt: events.at(-1).response.usage.input_tokens,
    }),
  },
  {
    name: "Messages",
    path: "/v1/messages",
    body: {
      messages: [
        { role: "user", content: question },
        { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: call.name, input: call.arguments }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: result }] },
      ],
      tools: [{ ...described, input_schema: parameters }],
      tool_choice: { type: "none" },
      temperature: 0,
      max_tokens: most,
    },
    whole: ({ content, usage }) => ({ text: content[0].text, prompt: ofAnthropic(usage) }),
    streamed: (events) => ({
      text: joined(events.filter(({ type }) => type === "content_block_delta").map(({ delta }) => delta.text)),
      prompt: ofAnthropic(events.find(({ type }) => type === "message_delta").usage),
    }),
  },
  {
    name: "Ollama's chat",
    path: "/api/chat",
    body: {
      messages: [
        { role: "user", content: question },
        { role: "assistant", content: "", tool_calls: [{ function: call }] },
        { role: "tool", tool_name: call.name, content: result },
      ],
      tools: [{ type: "function", function: { ...described, parameters } }],
      options: { temperature: 0, num_predict: most },
    },
    whole: ({ message, prompt_eval_count }) => ({ text: message.content, prompt: prompt_eval_count }),
    streamed: (events) => ({
      text: joined(events.map(({ message }) => message.content)),
      prompt: events.at(-1).prompt_eval_count,
    }),
  },
];

function ofAnthropic({ input_tokens, cache_read_input_tokens = 0 }: Untyped): number {
  return input_tokens + cache_read_input_tokens;
}

describe("an answer behind a tool's result", { skip: needsThreads }, () => {
  let server: RunningServer;
  const answers: Answered[] = [];

  before(async () => {
    server = await serveForTests({ modelPath: await chatModel(), engine: { threads: 1 } });
  });

  for (const { name, path, body, whole, streamed } of dialects) {
    it(`is the same in one piece and streamed: ${name}`, async () => {
      const ask = (stream: boolean) => postJson(server.url + path, { model: "any", ...body, stream });
      const first = await ask(false);
      const text = await first.text();
      assert.equal(first.status, 200, text);
      const answer = whole(JSON.parse(text));
      assert.ok(answer.text.length > 0 && answer.prompt > 0, text);
      const lines = (await (await ask(true)).text()).split("\n").map((line) => line.replace(/^data: /, ""));
      const events = lines.filter((line) => line.startsWith("{")).map((line): Untyped => JSON.parse(line));
      assert.ok(events.length > 2);
      assert.deepEqual(streamed(events), answer);
      answers.push(answer);
    });
  }

  it("has one prompt in all of them", () => {
    assert.equal(answers.length, dialects.length);
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
  });
});
