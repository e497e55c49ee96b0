/** A prompt is read once: answers that come back, and where a prompt leaves what was read before. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import OpenAI from "openai";
import type { RunningServer } from "../../src/server/index.js";
import { agentTokenizer } from "../support/agent-template.js";
import { writeRandomModel } from "../support/random-model.js";
import { needsThreads, postJson, serveForTests, testFolder } from "./support.js";

const tool = {
  type: "function" as const,
  function: {
    name: "write",
    description: "Writes a text.",
    parameters: { type: "object", properties: { text: { type: "string", maxLength: 40 } }, required: ["text"] },
  },
};

describe("prompts that are read once", { skip: needsThreads }, () => {
  let server: RunningServer;
  let client: OpenAI;
  const lines: string[] = [];

  before(async () => {
    const path = join(testFolder(), "agent.gguf");
    const overrides = { context_length: 8192, block_count: 2 };
    await writeRandomModel(path, {
      arch: "llama",
      variant: "dense",
      dims: 64,
      types: {},
      seed: 7,
      tokenizer: agentTokenizer(),
      overrides,
    });
    server = await serveForTests({
      modelPath: path,
      engine: { contextTokens: 8192, sequences: 2 },
      log: (line) => lines.push(line),
    });
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  });

  it("calls of a model that writes as it likes come back and are there", async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = [
      { role: "system", content: `You are an agent. ${"Work on files with care. ".repeat(60)}` },
      { role: "user", content: "Write something." },
    ];
    let past = 0;
    for (let turn = 0; turn < 5; turn++) {
      const { data, response } = await client.chat.completions
        .create({
          model: "agent",
          messages,
          tools: [tool],
          tool_choice: "required",
          parallel_tool_calls: false,
          seed: turn,
          temperature: 1,
        })
        .withResponse();
      const { prompt_tokens: tokens, completion_tokens: made, prompt_tokens_details: details } = data.usage!;
      const cached = details!.cached_tokens!;
      // The token that a call ends with was never evaluated.
      if (turn > 0) assert.ok(cached >= past - 1, `turn ${turn}: ${cached} of ${past}`);
      assert.match(response.headers.get("x-hundredweight-prefix")!, new RegExp(`^${cached} of ${tokens} tokens kept`));
      const [call] = data.choices[0]!.message.tool_calls!;
      messages.push(data.choices[0]!.message, { role: "tool", tool_call_id: call!.id, content: `wrote it, ${turn}` });
      past = tokens + made;
    }
  });

  it("names its own token at which a long prompt leaves another, in a header and in the log", async () => {
    const ask = async (content: string, stream = false) => {
      const body = { messages: [{ role: "user", content }], max_tokens: 1, stream };
      const response = await postJson(`${server.url}/v1/chat/completions`, body);
      await response.text();
      return response.headers.get("x-hundredweight-prefix")!;
    };
    const long = "one two three ".repeat(500);
    const first = await ask(`P\u00e9 ${long}`);
    assert.match(first, /^\d+ of \d+ tokens kept; differs at 1 \("u"\)$/);
    const logged = lines.length;
    const second = await ask(`P\u4e16 ${long}`, true);
    const [, kept, of, at] = /^(\d+) of (\d+) tokens kept; differs at (\d+) \("\\ufffd"\)$/.exec(second) ?? [];
    assert.equal(kept, at);
    assert.deepEqual(lines.slice(logged), [
      `prefix lost at token ${at} of ${of}, which is "\\ufffd": ${Number(of) - Number(kept)} are read again`,
    ]);
    assert.match(await ask(`P\u4e16 ${long}`), /^\d+ of \d+ tokens kept$/);
    assert.equal(lines.length, logged + 1);
  });
});
