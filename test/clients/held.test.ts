/** A real model, which knows nothing of tools, behind the newer APIs: calls and forms are held, prefixes counted. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Ajv } from "ajv";
import OpenAI from "openai";
import type { RunningServer } from "../../src/server/index.js";
import { chatModel, needsThreads, postJson, serveForTests, sseEvents } from "../server/support.js";
import type { Untyped } from "./scripted.js";

const schema = {
  type: "object",
  properties: { city: { type: "string", maxLength: 8 }, days: { type: "integer", minimum: 1, maximum: 14 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const valid = new Ajv({ strict: false }).compile(schema);

describe("answers that are held, by every API", { skip: needsThreads }, () => {
  let server: RunningServer;
  let client: Untyped;
  const messages = [{ role: "user", content: "And the king said" }];

  before(async () => {
    server = await serveForTests({ modelPath: await chatModel(), engine: { threads: 1 } });
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  });

  const message = async (more: object): Promise<Untyped> => {
    const response = await postJson(`${server.url}/v1/messages`, { max_tokens: 120, messages, seed: 3, ...more });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };

  it("holds calls and forms of Anthropic's API", async () => {
    const tools = [{ name: "travel", input_schema: schema }];
    const called = await message({ tools, tool_choice: { type: "any", disable_parallel_tool_use: true } });
    assert.equal(called.stop_reason, "tool_use");
    assert.ok(valid(called.content[0].input), JSON.stringify(called));
    const formed = await message({ output_config: { format: { type: "json_schema", schema } } });
    assert.ok(valid(JSON.parse(formed.content[0].text)));
  });

  it("holds calls, texts of custom tools and forms of the Responses API", async () => {
    const ask = { model: "x", input: "Go", max_output_tokens: 120, seed: 3, store: false };
    const tools = [{ type: "function", name: "travel", parameters: schema, strict: true }];
    const called = await client.responses.create({ ...ask, tools, tool_choice: "required" });
    assert.ok(valid(JSON.parse(called.output[0].arguments)), JSON.stringify(called.output));
    const format = { type: "grammar", syntax: "lark", definition: 'start: "go " ("north" | "south")' };
    const custom = [{ type: "custom", name: "move", format }];
    const moved = await client.responses.create({
      ...ask,
      tools: custom,
      tool_choice: { type: "custom", name: "move" },
    });
    assert.match(moved.output[0].input, /^go (north|south)$/);
    const formed = await client.responses.create({
      ...ask,
      text: { format: { type: "json_schema", name: "x", schema, strict: true } },
    });
    assert.ok(valid(JSON.parse(formed.output_text)));
  });

  it("ends at a stop text and names it; counts what was there from before, streamed as well", async () => {
    const free = await message({ max_tokens: 30, temperature: 0 });
    const word = free.content[0].text.trim().split(/\s+/)[2]!;
    const stopped = await message({ max_tokens: 30, temperature: 0, stop_sequences: ["never", word] });
    assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ["stop_sequence", word]);
    const { input_tokens: read, cache_read_input_tokens: cached } = stopped.usage;
    assert.equal(read + cached, free.usage.input_tokens + free.usage.cache_read_input_tokens);
    assert.ok(cached > 0 && read > 0);
    const body = { max_tokens: 5, messages, stream: true };
    const text = await (await postJson(`${server.url}/v1/messages`, body)).text();
    const last = sseEvents(text).find((event) => event.startsWith("event: message_delta"))!;
    assert.equal(JSON.parse(last.split("data: ")[1]!).usage.cache_read_input_tokens, cached);
  });
});
