/** The grammar of each dialect's calls: it takes what the reader reads, and what it gives is read and valid. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv } from "ajv";
import { constraintOfAnswer } from "../../src/chat/answer-constraint.js";
import { begunCall } from "../../src/chat/dialects/begun-call.js";
import { headerBegun, headerStyles } from "../../src/chat/dialects/headed.js";
import { dialects, type ToolShape, type WrittenCall, writeCalls } from "../../src/chat/dialects/index.js";
import { type ReplyFormat, readReply } from "../../src/chat/reply.js";
import type { Guide } from "../../src/sampling/constraint/guide.js";
import { Matcher } from "../../src/sampling/constraint/matcher.js";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import { Rng } from "../../src/sampling/rng.js";
import { diceOf } from "./random-schema.js";
import { Judge } from "./support.js";

const tools: readonly ToolShape[] = [
  {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: {
        city: { type: "string" },
        days: { type: "integer" },
        exact: { type: "boolean" },
        unit: { type: "string", enum: ["celsius", "fahrenheit"] },
      },
      required: ["city", "unit"],
    },
  },
  {
    name: "plot",
    parameters: {
      type: "object",
      properties: { points: { type: "array", items: { type: "number" } }, style: { $ref: "#/$defs/style" } },
      required: ["points"],
      $defs: { style: { type: "object", properties: { color: { type: "string" }, dashed: { type: "boolean" } } } },
    },
  },
  { name: "now", parameters: { type: "object", properties: {} } },
];
const weather = {
  name: "get_weather",
  arguments: { city: 'S\u00e3o "Paulo" < 2, {x}', days: 3, exact: true, unit: "celsius" },
};
const plot = { name: "plot", arguments: { points: [1, 2.5, -3], style: { color: "red", dashed: false } } };
const marks = { open: ["<think>"], close: ["</think>"] };
const plain = { thinks: false, begun: "" };
const ajv = new Ajv({ strict: false });
const valid = new Map(tools.map(({ name, parameters }) => [name, ajv.compile(parameters as object)]));

/** Takes a text byte by byte. @returns the part that was taken */
function take(guide: Guide, text: string): string {
  const bytes = Buffer.from(text);
  const taken = bytes.findIndex((byte) => {
    const allowed = guide.allowed();
    const may = allowed === undefined || ((allowed.bits[byte >> 5]! >> (byte & 31)) & 1) === 1;
    return !may || !guide.accept(byte);
  });
  return bytes.subarray(0, taken < 0 ? bytes.length : taken).toString();
}

const judge = new Judge();

/** Names of tools and marks stand in a text where no call begins. */
const prose = "The tag <tool_call> or get_weather( begins one, [1, 2] is a list.";

for (const dialect of dialects) {
  const [form] = dialect.forms;
  const said = form!.bare === true || dialect.messages !== undefined ? "" : `${prose}\n`;
  const guideOf = (more: { mustCall?: true | string; single?: boolean }, begun = ""): Guide => {
    const constraint = constraintOfAnswer({ dialect, thinks: false, begun }, marks, { tools, single: false, ...more });
    return judge.constraints.guide(constraint!);
  };

  test(`${dialect.name}: a call is free text until it begins, and then what its reader reads`, () => {
    const written = writeCalls(dialect, dialect.messages === "harmony" ? [weather] : [weather, plot]);
    const guide = guideOf({});
    assert.equal(take(guide, `${said}${written}`), `${said}${written}`);
    assert.ok(guide.accepts && guide.allowed() === undefined, "free again");
    assert.equal(take(guideOf({}), prose), prose, "what is written about calls is free");
    // Mutations: a value that is not listed, a name that is no tool, a value of another type.
    for (const [from, to] of [
      ["celsius", "kelvin"],
      ["get_weather", "get_wether"],
      ["3", dialect.forms[0]!.call.some((piece) => typeof piece !== "string" && piece.is === "nested") ? "x" : "[]"],
    ] as const) {
      const wrong = writeCalls(dialect, [weather]).replace(from, to);
      const begun = begunCall(dialect, undefined);
      const armed = guideOf({ mustCall: true }, begun);
      assert.notEqual(take(armed, wrong.slice(begun.length)), wrong.slice(begun.length), wrong);
      if (from !== "get_weather") assert.notEqual(take(guideOf({}), wrong), wrong, `without being asked for: ${wrong}`);
    }
  });

  test(`${dialect.name}: beside a form an answer is a call or a text of it`, () => {
    const written = writeCalls(dialect, dialect.messages === "harmony" ? [weather] : [weather, plot]);
    const headed = dialect.messages !== undefined;
    const begun = headed
      ? headerBegun
      : form!.contentName !== undefined && typeof form!.call[0] === "string"
        ? form!.call[0]
        : "";
    const text = '{"sum": 3}';
    const before = headed
      ? headerStyles[dialect.messages!].answer
      : form!.contentName !== undefined
        ? `${form!.contentName}\n`
        : "";
    const schema = { type: "object", properties: { sum: { type: "integer" } }, required: ["sum"] };
    const asked = { tools, single: false };
    const start = { dialect, thinks: false, begun };
    const constraint = constraintOfAnswer(start, marks, asked, { kind: "json_schema", schema }, true)!;
    const guideOfForm = (): Guide => judge.constraints.guide(constraint);
    const thought = headed
      ? `${headerStyles[dialect.messages!].thinking}so${headerStyles[dialect.messages!].ends[0]}${headerBegun}`
      : "<think>so</think>\n";
    for (const first of begun === "" || headed ? ["", thought] : [""]) {
      for (const said of [`${first}${before}${text}`, `${first}${written.slice(begun.length)}`]) {
        const guide = guideOfForm();
        assert.equal(take(guide, said), said, `${begun}|${said}`);
        assert.ok(guide.accepts, said);
      }
    }
    const wrong = `${before}{"sum": "three"}`;
    assert.notEqual(take(guideOfForm(), wrong), wrong);
    assert.notEqual(take(guideOfForm(), `${before}prose`), `${before}prose`);
    const other = written.slice(begun.length).replace("get_weather", "get_wether");
    assert.notEqual(take(guideOfForm(), other), other);
  });

  test(`${dialect.name}: an answer that has to be a call is one, and valid`, () => {
    const dice = diceOf(new Rng(7));
    let made = 0;
    const values = weather.arguments;
    const lists = Object.keys(values).flatMap((key) =>
      [[], ["city"], ["unit"], ["city", "unit"]].map((rest) => [key, ...rest.filter((other) => other !== key)]),
    );
    const some: WrittenCall[] = [
      ...lists.map((keys) => ({
        name: "get_weather",
        arguments: Object.fromEntries(keys.map((key) => [key, (values as Record<string, unknown>)[key]])),
      })),
      plot,
      { name: "plot", arguments: { style: { dashed: true }, points: [0.5] } },
      { name: "now", arguments: {} },
    ];
    const endings = some.map((call) => writeCalls(dialect, [call]));
    for (let n = 0; n < 24; n++) {
      const named = n % 3 === 0 ? tools[dice(tools.length)]!.name : undefined;
      const begun = begunCall(dialect, named);
      const mustCall: true | string = named ?? true;
      const asked = { tools, mustCall, single: n % 2 === 0 };
      const constraint = constraintOfAnswer({ dialect, thinks: false, begun }, marks, asked)!;
      const text = randomText(constraint, begun, dice, endings);
      if (text === undefined) continue;
      made++;
      const format: ReplyFormat = { dialect, tools, ...plain, begun, single: false };
      const { calls, content, warnings } = readReply(format, text);
      const told = `${begun}|${text} -> ${JSON.stringify({ calls, content, warnings })}`;
      assert.ok(calls.length > 0 && calls.every(({ whole }) => whole), told);
      assert.deepEqual([content, warnings], ["", []], told);
      for (const { name, arguments: json } of calls) {
        const check = valid.get(name)!;
        assert.ok(check(JSON.parse(json)), `${told}: ${ajv.errorsText(check.errors)}`);
        if (named !== undefined) assert.equal(name, named);
      }
    }
    assert.ok(made >= 12, `${made} of 24 were ended`);
  });

  /** The text some dice make of a constraint, ended as one of some texts ends; undefined where none of them fits. */
  function randomText(
    constraint: Constraint,
    begun: string,
    dice: (n: number) => number,
    endings: readonly string[],
  ): string | undefined {
    const matcher = new Matcher(judge.constraints.compile(constraint));
    assert.ok(matcher.acceptBytes(Buffer.from(begun)), `${begun} begins no call`);
    const out: number[] = [];
    for (let n = dice(80); n > 0 && !matcher.done; n--) {
      const { bits } = matcher.allowed();
      const may = Array.from({ length: 128 }, (_, id) => id).filter((id) => (bits[id >> 5]! >> (id & 31)) & 1);
      const id = may[dice(may.length)];
      if (id === undefined || !matcher.accept(id)) break;
      out.push(id);
    }
    if (matcher.accepts) return Buffer.from(out).toString();
    for (const text of endings) {
      for (let at = 1; at < text.length; at++) {
        const end = matcher.fork();
        if (end.acceptBytes(Buffer.from(text.slice(at))) && end.accepts) return Buffer.from(out) + text.slice(at);
      }
    }
    return undefined;
  }
}
