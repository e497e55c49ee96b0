/** For each dialect: calls are written, and read back however the text is cut. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Reply, type ReplyFormat, ReplyGatherer, ReplyReader } from "../reply.js";
import { deriveForm } from "./derive.js";
import { dialects, type WrittenCall, writeCalls } from "./index.js";
import { thinkingOf } from "./types.js";

const tools = [
  {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: {
        city: { type: "string" },
        days: { type: "integer" },
        exact: { type: "boolean" },
        note: { type: "string" },
      },
    },
  },
  {
    name: "plot",
    parameters: {
      type: "object",
      properties: { points: { type: "array", items: { type: "number" } }, style: { $ref: "#/$defs/style" } },
      $defs: { style: { type: "object", properties: { color: { type: "string" }, dashed: { type: "boolean" } } } },
    },
  },
  { name: "now", parameters: { type: "object", properties: {} } },
];

const calls: WrittenCall[] = [
  {
    name: "get_weather",
    arguments: { city: 'S\u00e3o \ud83d\ude42 "Paulo"', days: 3, exact: true, note: "1 < 2, {x}: [y]\nline two" },
  },
  { name: "plot", arguments: { points: [1, 2.5, -3], style: { color: "red", dashed: false } } },
  { name: "now", arguments: {} },
];

function read(pieces: readonly string[], format: ReplyFormat): Reply {
  const reader = new ReplyReader(format);
  const gathered = new ReplyGatherer();
  for (const piece of pieces) gathered.add(reader.push(piece));
  gathered.add(reader.end());
  return gathered.reply;
}

for (const dialect of dialects) {
  const format: ReplyFormat = { dialect, tools, thinks: false, begun: "", single: false };
  const [form] = dialect.forms;
  // What stands at the beginning of an answer or nowhere has no text before it; some make one call an answer.
  const said =
    form!.bare === true || dialect.messages !== undefined || dialect.answer !== undefined ? "" : "I look it up.";
  const some = dialect.messages === "harmony" ? calls.slice(0, 1) : calls;
  const [open, close] = thinkingOf(dialect)[0]!;
  const thought = dialect.messages !== undefined ? "" : `${open}what to do${close}`;

  test(`${dialect.name}: calls are written, and read back at every split`, () => {
    const text = `${thought}${said}${said === "" ? "" : "\n"}${writeCalls(dialect, some)}`;
    const points = [...text];
    const check = (pieces: readonly string[]): void => {
      const reply = read(pieces, format);
      assert.deepEqual(
        reply.calls.map(({ name, arguments: json, whole }) => ({ name, whole, arguments: JSON.parse(json) })),
        some.map((call) => ({ ...call, whole: true })),
        text,
      );
      assert.deepEqual([reply.reasoning, reply.content, reply.warnings], [thought && "what to do", said, []], text);
    };
    check([text]);
    check(points);
    for (let at = 1; at < points.length; at++) check([points.slice(0, at).join(""), points.slice(at).join("")]);
  });

  test(`${dialect.name}: a text that is no call stays what it is`, () => {
    const text = "The answer is 42, as {everybody} [knows] (1 < 2).\n";
    const reply = read([...text], format);
    assert.deepEqual([reply.content, reply.calls], [text, []]);
  });
}

test("a form is derived from a call that a template wrote", () => {
  const sample = { name: "tool_x", key: "key_x", value: "value_x" };
  const texts: readonly [call: string, kind: string][] = [
    ['<fn>{"name": "tool_x", "arguments": {"key_x": "value_x"}}</fn>', "object"],
    ['[CALLS] [{"tool": "tool_x", "input": {"key_x": "value_x"}}]', "list"],
    ['<call:tool_x>{"key_x": "value_x"}</call>', "json"],
    ["<use>\n<tool_x>\n<arg name=key_x>value_x</arg>\n</tool_x></use>", "params"],
  ];
  for (const [call, kind] of texts) {
    const form = deriveForm({ call, ...sample });
    assert.ok(
      form?.call.some((piece) => typeof piece !== "string" && piece.is === kind),
      call,
    );
    const dialect = { name: "derived", models: "", signs: [], forms: [form!] };
    const shapes = [{ name: "tool_x" }];
    const reply = read([...call], { dialect, tools: shapes, thinks: false, begun: "", single: false });
    assert.deepEqual(
      reply.calls.map(({ name, arguments: json }) => [name, JSON.parse(json)]),
      [["tool_x", { key_x: "value_x" }]],
      call,
    );
  }
  assert.equal(deriveForm({ call: "I call tool_x with key_x = value_x", ...sample }), undefined);
});
