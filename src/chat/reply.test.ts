import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { plainDialect } from "./dialects/derive.js";
import { type Dialect, dialectNamed } from "./dialects/index.js";
import { type Reply, type ReplyFormat, ReplyGatherer, ReplyReader, ReplyText, readReply } from "./index.js";
import { splitThinking } from "./thinking-text.js";

const tools = [
  {
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } },
  },
  { name: "add", parameters: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } } },
];

function format(dialect: Dialect | string, more: Partial<ReplyFormat> = {}): ReplyFormat {
  const row = typeof dialect === "string" ? dialectNamed(dialect)! : dialect;
  return { dialect: row, tools, thinks: false, begun: "", single: false, ...more };
}

function readIn(pieces: readonly string[], asked: ReplyFormat): Reply {
  const reader = new ReplyReader(asked);
  const gathered = new ReplyGatherer();
  for (const piece of pieces) gathered.add(reader.push(piece));
  gathered.add(reader.end());
  return gathered.reply;
}

/** Thinking, content and calls, the arguments as values. */
function told({ reasoning, content, calls }: Reply): [string, string, ...unknown[]] {
  return [reasoning, content, ...calls.map(({ name, arguments: text }) => [name, JSON.parse(text)])];
}

const plain = plainDialect("");

test("thinking and answer, however they come in pieces", () => {
  const cases: readonly [text: string, thinks: boolean, reasoning: string, content: string][] = [
    ["hello <think>x</think>", false, "", "hello <think>x</think>"],
    ["<think>\nwhy  not\n</think>\n\nyes\n", false, "why  not", "yes\n"],
    [" \n<think>a</think>b", false, "a", "b"],
    ["a < b </thin> c</think> d", true, "a < b </thin> c", "d"],
    ["<think></think>\n\nplain", false, "", "plain"],
    ["<think>never ends </thi", false, "never ends </thi", ""],
    ["<thin ice", false, "", "<thin ice"],
    ["  ", false, "", "  "],
    ["<thi", false, "", "<thi"],
    ["", true, "", ""],
  ];
  for (const [text, thinks, reasoning, content] of cases) {
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
        const ends = [0, ...cuts.sort((a, b) => a - b), text.length];
        const pieces = ends.slice(1).map((end, i) => text.slice(ends[i], end));
        const reply = readIn(pieces, format(plain, { thinks }));
        assert.deepEqual([reply.reasoning, reply.content], [reasoning, content], JSON.stringify(pieces));
        const off = readIn(pieces, format({ ...plain, thinking: [] }));
        assert.deepEqual([off.reasoning, off.content], ["", text]);
      }),
      { numRuns: 60 },
    );
  }
});

test("a call between texts; without tools it is a text", () => {
  const call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2.50}}\n</tool_call>';
  const text = `<think>sum</think>Let me see.\n${call}\nDone.`;
  assert.deepEqual(told(readReply(format("hermes"), text)), ["sum", "Let me see.Done.", ["add", { a: 1, b: 2.5 }]]);
  assert.equal(readReply(format("hermes"), call).calls[0]!.arguments, '{"a": 1, "b": 2.50}', "as it was written");
  assert.deepEqual(told(readReply(format("hermes", { tools: [] }), text)), ["sum", `Let me see.\n${call}\nDone.`]);
});

test("what only looks like a call is text, with a warning", () => {
  const cases = [
    "Write <tool_call> and then JSON.",
    '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
    '<tool_call>{"arguments": {}}</tool_call>',
    "<tool_call>[1, 2]</tool_call> is no call",
    "  <tool_call>",
  ];
  for (const text of cases) {
    const reply = readReply(format("hermes"), text);
    assert.deepEqual([reply.content, reply.calls.length, reply.warnings.length], [text, 0, 1], text);
    assert.deepEqual(readIn([...text], format("hermes")).content, text);
  }
  assert.deepEqual(readReply(format("hermes"), "a <tool_cal").content, "a <tool_cal");
});

test("calls are not read inside of thinking; but the mark that ends it may be missing before one", () => {
  const call = '<tool_call>{"name": "add", "arguments": {}}</tool_call>';
  assert.deepEqual(told(readReply(format("hermes"), `<think>I could write ${call}, no.</think>ok`)), [
    `I could write ${call}, no.`,
    "ok",
  ]);
  for (const pieces of [[`so ${call}`], [...`so ${call}`]]) {
    assert.deepEqual(told(readIn(pieces, format("hermes", { thinks: true }))), ["so", "", ["add", {}]]);
  }
  assert.deepEqual(told(readReply(format("hermes", { thinks: true }), "about <tool_call> I")), [
    "about <tool_call> I",
    "",
  ]);
});

test("habits: names with a prefix, arguments in a string, missing marks, line feeds in strings", () => {
  const reply = (dialect: string, text: string) => told(readReply(format(dialect), text)).slice(1);
  const twice = JSON.stringify('{"city": "\u00e9 \\"x\\"", "days": 1}');
  const expected = ["", ["weather", { city: '\u00e9 "x"', days: 1 }]];
  assert.deepEqual(
    reply("hermes", `<tool_call>{"name": "functions.weather", "arguments": ${twice}}</tool_call>`),
    expected,
  );
  assert.deepEqual(reply("hermes", '<tool_call>{"arguments": {"a": 1}, "name": "add"}'), ["", ["add", { a: 1 }]]);
  assert.deepEqual(reply("hermes", '<tool_call>{"name": "weather", "arguments": {"city": "a\nb"}}</tool_call>'), [
    "",
    ["weather", { city: "a\nb" }],
  ]);
  assert.deepEqual(reply("hermes", '<tool_call>{"name": "add", "arguments": null}</tool_call>'), ["", ["add", {}]]);
  assert.deepEqual(
    reply("qwen3-coder", "Now:\n<function=add>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"),
    ["Now:", ["add", { a: 1 }]],
  );
  assert.deepEqual(
    reply("kimi-k2", '<|tool_call_begin|>functions.add:3<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>'),
    ["", ["add", { a: 1 }]],
  );
  const nested = '{"type": "function", "function": {"name": "add", "parameters": {"a": 2}}}';
  assert.deepEqual(reply("llama-3", nested), ["", ["add", { a: 2 }]]);
  assert.deepEqual(reply("llama-3", '<|python_tag|>weather.call(city="Rome", days=2)'), [
    "",
    ["weather", { city: "Rome", days: 2 }],
  ]);
  assert.deepEqual(reply("llama-3", 'The JSON {"name": "add"} is'), ['The JSON {"name": "add"} is']);
});

test("a value between tags may hold what looks like the closing tag", () => {
  const city = "x</parameter> y\n</parameter>z";
  const days = "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>";
  const text = `<tool_call>\n<function=weather>\n<parameter=city>\n${city}\n</parameter>\n${days}`;
  assert.deepEqual(told(readReply(format("qwen3-coder"), text)), ["", "", ["weather", { city, days: 3 }]]);
});

test("a reply that is cut inside of a call gives what there is", () => {
  const whole = '<tool_call>{"name": "weather", "arguments": {"city": "Ro';
  const { calls } = readReply(format("hermes"), whole);
  assert.deepEqual([calls[0]!.arguments, calls[0]!.whole], ['{"city": "Ro', false]);
  const tagged = readReply(format("qwen3-coder"), "<tool_call><function=weather><parameter=city>\nRo");
  assert.deepEqual([tagged.calls[0]!.arguments, tagged.calls[0]!.whole], ['{"city": "Ro', false]);
});

test("only one call when only one was asked for", () => {
  const call = '<tool_call>{"name": "add", "arguments": {}}</tool_call>';
  const reply = readReply(format("hermes", { single: true }), call + call);
  assert.deepEqual([reply.calls.length, reply.content, reply.warnings.length], [1, "", 1]);
});

test("small models write calls in a fence or bare; other JSON there is text", () => {
  const call = '{\n  "name": "add",\n  "arguments": {\n    "a": 1\n  }\n}';
  const fenced = `\`\`\`json\n${call}\n\`\`\``;
  const added = ["add", { a: 1 }];
  assert.deepEqual(told(readIn([...`I add.\n${fenced}`], format("hermes"))), ["", "I add.", added]);
  assert.deepEqual(told(readIn([...`${fenced}\n${fenced}`], format("hermes"))), ["", "", added, added]);
  assert.deepEqual(told(readIn([...call], format("hermes"))), ["", "", added]);
  for (const other of ['{"name": "Ada"}', '{"a": 1, "name": "add"}', "[1, 2]", '{"name"']) {
    const text = `See:\n\`\`\`json\n${other}\n\`\`\`\nSo.`;
    for (const one of [text, other]) {
      const reply = readIn([...one], format("hermes"));
      assert.deepEqual([reply.content, reply.calls, reply.warnings], [one, [], []]);
    }
  }
});

test("a call that the prompt began", () => {
  const begun = '<tool_call>\n{"name": "add", "arguments": ';
  assert.deepEqual(told(readReply(format("hermes", { begun }), '{"a": 1}}\n</tool_call>')), [
    "",
    "",
    ["add", { a: 1 }],
  ]);
});

test("gpt-oss: channels, recipients in both places, a text without a header", () => {
  const begun = "<|start|>assistant";
  const reply = (text: string) => told(readReply(format("harmony", { begun }), text));
  assert.deepEqual(
    reply("<|channel|>analysis<|message|>think<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>"),
    ["think", "Hi"],
  );
  const args = '{"city": "Rome"}';
  const called = ["", "", ["weather", { city: "Rome" }]];
  assert.deepEqual(reply(` to=functions.weather<|channel|>commentary json<|message|>${args}<|call|>`), called);
  assert.deepEqual(
    reply(`<|channel|>commentary to=functions.weather <|constrain|>json<|message|>${args}<|call|>`),
    called,
  );
  assert.deepEqual(reply("Hello there"), ["", "Hello there"]);
  assert.deepEqual(reply("<|channel|>anal"), ["", ""]);
  const preamble = "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>Done";
  for (const text of [preamble])
    assert.deepEqual(told(readIn([...text], format("harmony", { begun }))), ["", "I look.\n\nDone"]);
});

test("a reply as one text has its thinking between tags", () => {
  const reader = new ReplyReader(format({ ...plain, thinking: [["[THINK]", "[/THINK]"]] }));
  const text = new ReplyText();
  const pieces = ["[THI", "NK]why", " not[/TH", "INK]\nyes"];
  const all = pieces.map((piece) => text.of(reader.push(piece))).join("") + text.of(reader.end());
  assert.equal(all, "<think>\nwhy not\n</think>\n\nyes");
  assert.deepEqual(splitThinking(all), { thinking: "why not", answer: "yes", thought: true });
});

test("thinking is told from the answer, also before it has ended", () => {
  assert.deepEqual(splitThinking("plain"), { thinking: undefined, answer: "plain", thought: true });
  assert.deepEqual(splitThinking("<think>\nhm"), { thinking: "hm", answer: "", thought: false });
  assert.deepEqual(splitThinking("\n<think>hm</think>\n\nyes"), { thinking: "hm", answer: "yes", thought: true });
  // The template opened it.
  assert.deepEqual(splitThinking("hm\n</think>\nyes"), { thinking: "hm", answer: "yes", thought: true });
  assert.deepEqual(splitThinking("about <think> tags"), {
    thinking: undefined,
    answer: "about <think> tags",
    thought: true,
  });
});
