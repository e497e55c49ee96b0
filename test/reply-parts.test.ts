/**
 * One conversation, with thinking and a tool call, through library, `run`, `chat` and server: the same parts
 * everywhere.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { load } from "../src/library/model.js";
import { needsThreads, postJson, serveForTests } from "./server/support.js";
import { runCli } from "./support/cli.js";
import { makeRecitingModel } from "./support/reciting-model.js";

const folder = mkdtempSync(join(tmpdir(), "hw-parts-"));
const thinker = join(folder, "thinker.gguf");
const caller = join(folder, "caller.gguf");
after(() => rmSync(folder, { recursive: true }));

const messages = [{ role: "user", content: "why?" }];
const tool = {
  type: "function" as const,
  function: { name: "add", parameters: { type: "object", properties: { a: { type: "number" } } } },
};
const toolTemplate =
  "{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}<|user|>{{ m.content }}" +
  "{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}{% endfor %}<|assistant|>";

describe("the parts of an answer", { skip: needsThreads }, () => {
  before(async () => {
    await makeRecitingModel(
      thinker,
      ["<think>", "\nso that\n", "</think>", "\n\n", "yes,", " indeed"],
      ["<think>", "</think>"],
    );
    await makeRecitingModel(
      caller,
      ["I add.", "\n", "<tool_call>", '{"name": "add", ', '"arguments": {"a"', ": 1}}", "</tool_call>"],
      ["<tool_call>", "</tool_call>"],
      toolTemplate,
    );
  });

  it("thinking is told from the answer, the marks being control tokens", async () => {
    const model = await load(thinker, { threads: 1 });
    try {
      const result = await model.chat(messages, { temperature: 0 }).result();
      assert.deepEqual([result.reasoning, result.text], ["so that", "yes, indeed"]);
      let text = "";
      for await (const piece of model.chat(messages, { temperature: 0 })) text += piece;
      assert.equal(text, "yes, indeed");
    } finally {
      await model.close();
    }
    const run = await runCli(["run", thinker, "why?", "--temperature", "0", "--threads", "1", "--no-probe"]);
    assert.equal(run.out, "yes, indeed\n", run.err);
    assert.match(run.err, /^thinking: so that\n/m);
    const json = await runCli(["run", thinker, "why?", "--temperature", "0", "--threads", "1", "--no-probe", "--json"]);
    const document = JSON.parse(json.out);
    assert.deepEqual([document.reasoning, document.text], ["so that", "yes, indeed"]);
    const chat = await runCli(["chat", thinker, "--temperature", "0", "--threads", "1", "--no-probe"], "why?\n");
    assert.equal(chat.out, "yes, indeed\n", chat.err);
    assert.match(chat.err, /^thinking: so that\n/m);
    const server = await serveForTests({ modelPath: thinker, engine: { threads: 1 } });
    const answer = await postJson(`${server.url}/v1/chat/completions`, { messages, temperature: 0 });
    const { choices, usage } = JSON.parse(await answer.text());
    assert.deepEqual(choices[0].message, {
      role: "assistant",
      content: "yes, indeed",
      reasoning_content: "so that",
      refusal: null,
    });
    assert.equal(usage.completion_tokens_details.reasoning_tokens, 2);
  });

  it("a tool call comes out of library and server alike", async () => {
    const model = await load(caller, { threads: 1 });
    try {
      const result = await model.chat(messages, { temperature: 0, tools: [tool] }).result();
      assert.equal(result.text, "I add.");
      assert.deepEqual(
        result.toolCalls.map(({ name, arguments: json, whole }) => [name, json, whole]),
        [["add", '{"a": 1}', true]],
      );
      const untold = await model.chat(messages, { temperature: 0 }).result();
      assert.equal(untold.toolCalls.length, 0, "without tools nothing is a call");
    } finally {
      await model.close();
    }
    const file = join(folder, "tools.json");
    writeFileSync(file, JSON.stringify([tool]));
    const options = ["--tools", file, "--temperature", "0", "--threads", "1", "--no-probe"];
    const talked = await runCli(["chat", caller, ...options], "why?\n5\n/regen\n");
    // Its question, the result of its call, and the question once more.
    assert.equal(talked.out, "I add.\nI add.\nI add.\n", talked.err);
    assert.equal(talked.err.match(/^call: add\(\{"a": 1\}\)$/gm)?.length, 3, talked.err);
    const server = await serveForTests({ modelPath: caller, engine: { threads: 1 } });
    const ask = { messages, temperature: 0, tools: [tool] };
    const { choices } = JSON.parse(await (await postJson(`${server.url}/v1/chat/completions`, ask)).text());
    const { message, finish_reason: reason } = choices[0];
    assert.deepEqual([message.content, reason], ["I add.", "tool_calls"]);
    assert.deepEqual(message.tool_calls[0].function, { name: "add", arguments: '{"a": 1}' });
  });
});
