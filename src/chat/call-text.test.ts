/** Calls in a kept text: written as events come, read back by the page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { splitCalls } from "./call-text.js";
import { ReplyText } from "./reply-text.js";

test("calls in a text are told from what stands around them, also while one is written", () => {
  const text = new ReplyText();
  const json = '{"a": "</tool_call>\\n}"}';
  const kept =
    text.of([
      { kind: "reasoning", text: "so" },
      { kind: "content", text: "I look." },
      { kind: "call", index: 0, name: 'f"', id: "c1" },
      { kind: "arguments", index: 0, text: json },
      { kind: "callEnd", index: 0, whole: true },
    ]) + text.of([{ kind: "content", text: "Done." }]);
  const answer = kept.slice(kept.indexOf("</think>") + 8);
  assert.ok(kept.startsWith("<think>\nso\n</think>"));
  assert.deepEqual(splitCalls(answer), [
    { text: "I look." },
    { call: { id: "c1", name: 'f"', arguments: json, whole: true } },
    { text: "Done." },
  ]);
  const half = answer.slice(0, answer.indexOf("</tool_call>"));
  assert.deepEqual(splitCalls(half).at(-1), { call: { id: "c1", name: 'f"', arguments: '{"a": "', whole: false } });
  const prose = 'The tag <tool_call> {"x": 1} </tool_call> is no call.';
  assert.deepEqual(splitCalls(prose), [{ text: prose }]);
});
