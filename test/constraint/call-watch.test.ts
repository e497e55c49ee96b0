/** Where the grammar of calls begins to hold in an answer, and what becomes of schemas that cannot be obeyed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { constraintOfAnswer } from "../../src/chat/answer-constraint.js";
import { type Dialect, hermes, type ToolShape } from "../../src/chat/dialects/index.js";
import { HundredweightError } from "../../src/errors.js";
import type { Guide } from "../../src/sampling/constraint/guide.js";
import { endToken, Judge, toolToken } from "./support.js";

const weather: ToolShape = {
  name: "get_weather",
  parameters: { type: "object", properties: { days: { type: "integer", minimum: 1 } }, required: ["days"] },
  from: "tools[0].function.parameters",
};
const marks = { open: ["<think>"], close: ["</think>"] };
const opening = '<tool_call>\n{"name": "';
const call = `${opening}get_weather", "arguments": {"days": 3}}\n</tool_call>`;

interface Asked {
  readonly dialect?: Dialect;
  readonly tools?: readonly ToolShape[];
  readonly pieces?: readonly string[];
  readonly thinks?: boolean;
  readonly single?: boolean;
}

function guideOf({ dialect = hermes, tools = [weather], pieces, thinks = false, single = false }: Asked): Guide {
  const constraint = constraintOfAnswer({ dialect, begun: "", thinks }, marks, { tools, single });
  return new Judge(pieces).constraints.guide(constraint!);
}

function say(guide: Guide, text: string): void {
  for (const byte of Buffer.from(text)) assert.ok(guide.accept(byte), `${text} at ${String.fromCharCode(byte)}`);
}

const may = (guide: Guide, id: number): boolean => {
  const allowed = guide.allowed();
  return allowed === undefined || ((allowed.bits[id >> 5]! >> (id & 31)) & 1) === 1;
};
const letter = (text: string): number => text.charCodeAt(0);

test("nothing holds inside of thinking, at the beginning and between calls", () => {
  const thought = `<think>I write ${opening}x and think on.</think>`;
  const guide = guideOf({});
  say(guide, ` ${thought}\n${opening}`);
  assert.deepEqual([may(guide, letter("g")), may(guide, letter("x")), guide.accepts], [true, false, false]);
  say(guide, call.slice(opening.length));
  assert.ok(guide.accepts && guide.allowed() === undefined);
  say(guide, `\n${thought}${opening}`);
  assert.ok(!may(guide, letter("x")));
  const opened = guideOf({ thinks: true });
  say(opened, `so ${opening}x</think>${opening}`);
  assert.ok(!may(opened, letter("x")));
});

test("white space that a model leaves out or adds does not hide the beginning of a call", () => {
  const guide = guideOf({});
  say(guide, '<tool_call>{ "name":"get_');
  assert.ok(may(guide, letter("w")) && !may(guide, letter("x")));
});

test("a token that goes beyond the beginning of a call comes only where the call goes on so", () => {
  const guide = guideOf({ pieces: ['"get_we', '"get_wx', ' "', 'name": "ge', 'name": "x'] });
  say(guide, '<tool_call>\n{"name": ');
  assert.deepEqual(
    [258, 259, 260, endToken].map((id) => may(guide, id)),
    [true, false, true, true],
  );
  const [right, wrong, blank] = [258, 259, 260];
  assert.ok(guide.accept(blank!) && may(guide, letter("g")) && !may(guide, letter("x")));
  const other = guideOf({ pieces: ['"get_we', '"get_wx'] });
  say(other, "prose");
  assert.ok(may(other, right!) && may(other, wrong!), "free where nothing is begun");
});

test("after the one call that was asked for nothing follows", () => {
  const guide = guideOf({ single: true });
  say(guide, call);
  assert.deepEqual(
    [guide.done, guide.accepts, may(guide, endToken), may(guide, letter("x"))],
    [true, true, true, false],
  );
});

test("a special token begins a call by itself", () => {
  const form = { call: ["<tool>", { is: "object", name: "name", arguments: "arguments" } as const] };
  const dialect: Dialect = { name: "x", models: "", signs: [], forms: [form] };
  const guide = guideOf({ dialect });
  say(guide, "text ");
  assert.ok(guide.accept(toolToken));
  assert.deepEqual([may(guide, letter("{")), may(guide, letter("x"))], [true, false]);
});

test("a schema that cannot be obeyed makes its own tool free, unless it has to be obeyed", () => {
  const bad: ToolShape = { name: "bad", parameters: { $ref: "#/$defs/none" }, from: "tools[1].function.parameters" };
  const guide = guideOf({ tools: [weather, bad] });
  assert.deepEqual(
    guide.leftOut.map(({ keyword, path }) => `${keyword} ${path}`),
    ["$ref tools[1].function.parameters#"],
  );
  say(guide, `${opening}bad", "arguments": {"anything": [1, "x"]}}\n</tool_call>\n`);
  say(guide, `${opening}get_weather", "arguments": {"days": `);
  assert.deepEqual([may(guide, letter("0")), may(guide, letter("2"))], [false, true]);
  const strict = { ...bad, strict: true };
  assert.throws(
    () => guideOf({ tools: [weather, strict] }),
    (error) =>
      error instanceof HundredweightError &&
      error.code === "OPTION_INVALID" &&
      error.details.param === "tools[1].function.parameters" &&
      /\$ref at #/.test(error.message),
  );
});

test("a custom tool's text is held to its grammar, inside of JSON", () => {
  const lark = 'start: "*** " line+ "end"\nline: /[a-z"]+/ "\\n"';
  const patch: ToolShape = {
    name: "patch",
    parameters: { type: "object", properties: { input: { type: "string" } }, required: ["input"] },
    grammar: { syntax: "lark", definition: lark },
  };
  const begun = `${opening}patch", "arguments": {"input": "`;
  const guide = guideOf({ tools: [patch] });
  say(guide, `${begun}*** ab\\"c\\nd\\n`);
  assert.deepEqual(
    ['"', "\n", "e", "E"].map((one) => may(guide, letter(one))),
    [false, false, true, false],
  );
  say(guide, 'end"}}\n</tool_call>');
  const years: ToolShape = { ...patch, grammar: { syntax: "regex", definition: "[0-9]{4}" } };
  const other = guideOf({ tools: [years] });
  say(other, `${begun}2026`);
  assert.deepEqual([may(other, letter('"')), may(other, letter("1"))], [true, false]);
});

test("where nothing may be called no token begins a call, and everything else may come", () => {
  const constraint = constraintOfAnswer({ dialect: hermes, begun: "", thinks: false }, marks, {
    tools: [],
    barred: [weather],
    single: false,
  });
  const pieces = ['"get', ' "', 'name": "', 'name":', " ["];
  const guide = new Judge(pieces).constraints.guide(constraint!);
  say(guide, `<think>${call}</think>A text with <tool_call> in it.\n<tool_call>\n{"`);
  assert.deepEqual(
    [260, 261].map((id) => may(guide, id)),
    [false, true],
  );
  assert.ok(guide.accept(261));
  assert.deepEqual(
    [258, 259, 262].map((id) => may(guide, id)),
    [false, false, true],
  );
  assert.deepEqual([may(guide, letter('"')), guide.accepts, guide.done], [false, true, false]);
  say(guide, " null");
  assert.ok(may(guide, letter('"')) && may(guide, 258));
});

test("where nothing may be called a special token that begins one does not come", () => {
  const form = { call: ["<tool>", { is: "object", name: "name", arguments: "arguments" } as const] };
  const dialect: Dialect = { name: "x", models: "", signs: [], forms: [form] };
  const constraint = constraintOfAnswer({ dialect, begun: "", thinks: false }, marks, {
    tools: [],
    barred: [weather],
    single: false,
  });
  const guide = new Judge().constraints.guide(constraint!);
  assert.ok(!may(guide, toolToken) && may(guide, letter("<")));
  say(guide, "A text.");
  assert.ok(!may(guide, toolToken));
});
