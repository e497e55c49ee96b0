/** Real answers against OpenAI's published API description, by a validator that knows nothing of this project. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { parse } from "yaml";
import type { RunningServer } from "../../src/server/index.js";
import { type AnswerSchema, Description, extractSchemas, goldenSchemas, type Schemas } from "./api-description.js";
import { chatModel, needsThreads, postJson, serveForTests, sseEvents } from "./support.js";

const root = process.env.HUNDREDWEIGHT_VECTORS;
const published = root && join(root, "vectors/api-spec/openai-openapi.yaml.xz");
const skip =
  published === undefined || !existsSync(published)
    ? "SKIPPED: HUNDREDWEIGHT_VECTORS names no OpenAI API description; the extract in test/golden is used as it is"
    : false;
if (skip) console.log(skip);

const description = new Description(goldenSchemas());
const messages = [{ role: "user", content: "And the king said" }];

function holds(schema: AnswerSchema, answer: unknown, except: RegExp = /^$/): void {
  const faults = description.faults(schema, answer).filter((fault) => !except.test(fault));
  assert.deepEqual(faults, [], JSON.stringify(answer).slice(0, 500));
}

describe("OpenAI's API description", { skip: needsThreads }, () => {
  let server: RunningServer;

  before(async () => {
    const config = { maxBodyBytes: 10_000, maxAnswers: 8 };
    server = await serveForTests({ modelPath: await chatModel(), config, engine: { threads: 1, sequences: 4 } });
  });

  const post = async (path: string, body: unknown): Promise<unknown> => {
    const response = await postJson(`${server.url}/v1/${path}`, body);
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };

  const chunksOf = async (path: string, body: object): Promise<{ choices: { finish_reason?: unknown }[] }[]> => {
    const response = await postJson(`${server.url}/v1/${path}`, { ...body, stream: true });
    const events = sseEvents(await response.text()).filter((event) => event.startsWith("data: "));
    assert.equal(events.pop(), "data: [DONE]");
    assert.ok(events.length > 0);
    return events.map((event) => JSON.parse(event.slice(6)));
  };

  it("has what conversations are answered with", async () => {
    for (const more of [{}, { n: 2, logprobs: true, top_logprobs: 3 }, { max_completion_tokens: 1, stop: ["e"] }]) {
      holds(
        "CreateChatCompletionResponse",
        await post("chat/completions", { messages, max_tokens: 6, seed: 1, ...more }),
      );
    }
  });

  it("has every chunk of their streams", async () => {
    const asks = [
      {},
      { stream_options: { include_usage: true }, logprobs: true, top_logprobs: 2 },
      { n: 2, return_progress: true },
    ];
    for (const more of asks) {
      for (const chunk of await chunksOf("chat/completions", { messages, max_tokens: 6, ...more })) {
        holds("CreateChatCompletionStreamResponse", chunk);
      }
    }
  });

  it("has completions, but for what it forgets", async () => {
    const ask = { prompt: "In the beginning", max_tokens: 4, seed: 1 };
    holds("CreateCompletionResponse", await post("completions", ask));
    holds("CreateCompletionResponse", await post("completions", { ...ask, logprobs: 2, n: 2 }));
    // A first token has no probability: OpenAI's servers write null, too.
    const first = /^\/choices\/0\/logprobs(\/(token|top)_logprobs\/0)?: must (be (number|object|null)|match a schema)/;
    holds("CreateCompletionResponse", await post("completions", { ...ask, echo: true, logprobs: 2 }), first);
    // In streams only the last chunk of a choice has a reason to end, and only the last of all has usage.
    const running = /^(\/choices\/\d\/finish_reason|\/usage): must be/;
    for (const more of [{}, { logprobs: 1, stream_options: { include_usage: true } }]) {
      const chunks = await chunksOf("completions", { ...ask, ...more });
      for (const chunk of chunks) {
        holds("CreateCompletionResponse", chunk, running);
      }
      const reasons = chunks.flatMap(({ choices }) => choices.flatMap(({ finish_reason: reason }) => reason ?? []));
      assert.equal(reasons.length, 1);
    }
  });

  it("has responses, and every event of their streams", async () => {
    const tools = [
      { type: "function", name: "f", parameters: { type: "object", properties: { a: { type: "boolean" } } } },
      { type: "custom", name: "g", description: "Takes a text." },
    ];
    const asks = [
      { max_output_tokens: 8, seed: 1 },
      { tools, tool_choice: "required", max_output_tokens: 60, parallel_tool_calls: false, seed: 2 },
      {
        tools,
        tool_choice: { type: "custom", name: "g" },
        max_output_tokens: 20,
        seed: 3,
        reasoning: { summary: "auto" },
      },
    ];
    for (const ask of asks) {
      const body = { input: "And the king said", ...ask };
      holds("Response", await post("responses", body));
      const stream = await postJson(`${server.url}/v1/responses`, { ...body, stream: true });
      const events = [...(await stream.text()).matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!));
      assert.match(events.at(-1).type, /^response\.(completed|incomplete)$/);
      for (const event of events) holds("ResponseStreamEvent", event);
    }
  });

  it("has embeddings and models", async () => {
    holds("CreateEmbeddingResponse", await post("embeddings", { input: ["a king", "a queen"] }));
    const get = async (path: string): Promise<unknown> => (await fetch(`${server.url}/v1/${path}`)).json();
    holds("ListModelsResponse", await get("models"));
    holds("Model", await get("models/demo-chat"));
  });

  it("has errors, wherever they come from", async () => {
    const chat = `${server.url}/v1/chat/completions`;
    const refusals: [status: number, response: Promise<Response>][] = [
      [400, postJson(chat, "{")],
      [400, postJson(chat, { messages, temperature: "hot" })],
      [400, postJson(`${server.url}/v1/completions`, { prompt: "word ".repeat(1500) })],
      [404, fetch(`${server.url}/v1/models/none`)],
      [404, fetch(`${server.url}/v1/nothing`)],
      [405, fetch(chat)],
      [413, postJson(chat, "x".repeat(20_000))],
      [400, postJson(chat, { messages, n: 9 })],
    ];
    for (const [status, response] of refusals) {
      const answer = await response;
      assert.equal(answer.status, status);
      holds("ErrorResponse", await answer.json());
    }
  });

  it("would find what is missing or of another kind", async () => {
    const answer = (await post("chat/completions", { messages, max_tokens: 2, logprobs: true })) as {
      choices: { logprobs: { content: object[] } }[];
    };
    const { choices, ...rest } = answer;
    const faults = (changed: unknown): string[] => description.faults("CreateChatCompletionResponse", changed);
    assert.match(faults(rest).join(), /must have required property 'choices'/);
    assert.match(faults({ ...answer, created: "now" }).join(), /^\/created: must be integer/);
    assert.match(faults({ ...answer, usage: { prompt_tokens: 1 } }).join(), /^\/usage: must have required property/);
    const [choice] = choices;
    const scored = choice!.logprobs.content.map((entry) => ({ ...entry, bytes: "no" }));
    const wrong = { ...choice, logprobs: { content: scored, refusal: null } };
    assert.match(faults({ ...answer, choices: [wrong] }).join(), /logprobs\/content\/0\/bytes: must be array/);
    assert.match(faults({ ...answer, choices: [{ ...choice, finish_reason: "eos" }] }).join(), /finish_reason/);
  });
});

describe("the extract of the description", { skip }, () => {
  it("is what is published", () => {
    const text = execFileSync("xz", ["-dc", published!], { maxBuffer: 2 ** 28, encoding: "utf8" });
    const document = parse(text) as { components: { schemas: Schemas } };
    assert.deepEqual(goldenSchemas(), extractSchemas(document.components.schemas));
  });
});
