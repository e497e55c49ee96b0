/** A prompt is read once: answers that come back, and where a prompt leaves what was read before. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { JobEvent } from "../../src/link/protocol.js";
import { agentSession, writeAgentModel } from "./agent-session.js";
import { FakeEngine } from "./fake-engine.js";
import { needsThreads, postJson, serveFake, serveForTests, testFolder } from "./support.js";

describe("where a prompt leaves what is kept", () => {
  it("is told in a header, if the engine says it soon", async () => {
    const said: JobEvent[] = [
      { kind: "prefix", tokens: 2400, reused: 120 },
      { kind: "prefix", tokens: 2400, reused: 120, differs: { at: 121, token: 5, text: " N\u00f6v\n", lost: 3 } },
    ];
    const engine = new FakeEngine((job) => {
      job.event({ kind: "queued", ahead: 1 });
      const event = said.shift();
      if (event !== undefined) job.event(event);
      job.token("a");
      job.finish();
    });
    const { url } = await serveFake(engine);
    const headers: (string | null)[] = [];
    for (const stream of [false, true, true]) {
      const body = { messages: [{ role: "user", content: "hi" }], stream };
      const response = await postJson(`${url}/v1/chat/completions`, body);
      await response.text();
      headers.push(response.headers.get("x-hundredweight-prefix"));
    }
    const differs = '120 of 2400 tokens kept; differs at 121 (" N\\u00f6v\\n")';
    assert.deepEqual(headers, ["120 of 2400 tokens kept", differs, null]);
  });

  it("is told in the log where much is lost, by its own token only", { skip: needsThreads }, async () => {
    const lines: string[] = [];
    const modelPath = join(testFolder(), "agent.gguf");
    await writeAgentModel(modelPath, "llama", 8192);
    const { url } = await serveForTests({
      modelPath,
      engine: { contextTokens: 8192, sequences: 2 },
      log: (line) => lines.push(line),
    });
    const ask = async (content: string) => {
      const body = { messages: [{ role: "user", content }], max_tokens: 1 };
      return (await postJson(`${url}/v1/chat/completions`, body)).text();
    };
    const long = "one two three ".repeat(300);
    for (const text of [`P\u00e9 ${long}`, `P\u4e16 ${long}`, `P\u4e16 ${long}`, "something else"]) await ask(text);
    assert.equal(lines.length, 1);
    const [, at, of, again] =
      /^prefix lost at token (\d+) of (\d+), which is "\\ufffd": (\d+) are read again$/.exec(lines[0]!) ?? [];
    assert.equal(Number(at) + Number(again), Number(of));
  });
});

describe("an agent's session", { skip: needsThreads }, () => {
  for (const arch of ["llama", "qwen35"])
    it(`evaluates nothing twice that matters: ${arch}`, async (t) => {
      const modelPath = join(testFolder(), `session-${arch}.gguf`);
      const contextTokens = 12_288;
      await writeAgentModel(modelPath, arch, contextTokens);
      const { url } = await serveForTests({ modelPath, engine: { contextTokens, sequences: 2 } });
      const report = await agentSession({ url, turns: 11, systemLength: 4000, resultLength: 200 });
      const { promptTokens, evaluatedTokens, againTokens, calls } = report;
      t.diagnostic(`${promptTokens} tokens of prompts, ${evaluatedTokens} evaluated, ${againTokens} of them again`);
      assert.equal(calls, 10);
      assert.ok(againTokens < 0.01 * promptTokens, `${againTokens} of ${promptTokens} tokens were evaluated again`);
    });

  it("goes on in Anthropic's words too: a header in a block of its own, arguments as objects", async () => {
    const modelPath = join(testFolder(), "agent.gguf");
    await writeAgentModel(modelPath, "llama", 8192);
    const { url } = await serveForTests({ modelPath, engine: { contextTokens: 8192, sequences: 1 } });
    const properties = { text: { type: "string", maxLength: 40 }, amount: { type: "number" } };
    const schema = { type: "object", properties, required: ["text", "amount"] };
    const messages: object[] = [{ role: "user", content: "Write." }];
    for (let turn = 0, past = 0; turn < 4; turn++) {
      const text = (of: string) => ({ type: "text", text: of });
      const response = await postJson(`${url}/v1/messages`, {
        model: "any",
        max_tokens: 400,
        system: [text(`x-anthropic-billing-header: cch=0000${turn};`), text("You are an agent. ".repeat(40))],
        messages,
        tools: [{ name: "write", description: "Writes.", input_schema: schema }],
        tool_choice: { type: "any", disable_parallel_tool_use: true },
        temperature: 1,
      });
      const { content, usage } = (await response.json()) as {
        content: { type: string; id: string }[];
        usage: { input_tokens: number; cache_read_input_tokens: number; output_tokens: number };
      };
      const { input_tokens: fresh, cache_read_input_tokens: cached, output_tokens: made } = usage;
      assert.ok(cached >= past, `turn ${turn}: ${cached} of ${past}`);
      past = fresh + cached + made - 1;
      const results = content.filter(({ type }) => type === "tool_use");
      assert.equal(results.length, 1);
      messages.push(
        { role: "assistant", content },
        { role: "user", content: results.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: "done" })) },
      );
    }
  });
});
