/** Real chat templates, which are not ours to ship: a known call is rendered, cut out, and read back at every split. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type ChatMessage,
  type Conversation,
  type PreparedConversation,
  prepareConversation,
  type Reply,
  type ReplyFormat,
  ReplyGatherer,
  ReplyReader,
  toolShapes,
} from "../src/chat/index.js";
import { HundredweightError } from "../src/errors.js";

const folder = process.env.HUNDREDWEIGHT_CHAT_TEMPLATES;
const skip = folder === undefined ? "HUNDREDWEIGHT_CHAT_TEMPLATES is not set: real templates are NOT tried" : false;

const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Gets the weather",
      parameters: {
        type: "object",
        properties: { city: { type: "string" }, days: { type: "integer" }, exact: { type: "boolean" } },
        required: ["city"],
      },
    },
  },
  {
    type: "function",
    function: {
      name: "add",
      description: "Adds",
      parameters: {
        type: "object",
        properties: { a: { type: "number" }, b: { type: "number" } },
        required: ["a", "b"],
      },
    },
  },
];
const calls: readonly [name: string, args: Record<string, unknown>][] = [
  ["get_weather", { city: "S\u00e3o <Paulo>", days: 3, exact: true }],
  ["add", { a: 1, b: -2.5 }],
];
const user: ChatMessage = { role: "user", content: "Hello there" };

function talk(count: number): ChatMessage[] {
  const made = calls.slice(0, count).map(([name, args], i) => ({
    id: `abcdefgh${i}`,
    type: "function",
    function: { name, arguments: JSON.stringify(args) },
  }));
  return [user, { role: "assistant", content: null, tool_calls: made }];
}

function prepare(source: string, more: Partial<Conversation>): PreparedConversation | undefined {
  try {
    return prepareConversation(
      new Map([["default", source]]),
      { messages: [user], tools, ...more },
      { bosToken: "<s>", eosToken: "</s>" },
    );
  } catch (error) {
    if (error instanceof HundredweightError) return undefined;
    throw error;
  }
}

function read(pieces: readonly string[], format: ReplyFormat): Reply {
  const reader = new ReplyReader(format);
  const gathered = new ReplyGatherer();
  for (const piece of pieces) gathered.add(reader.push(piece));
  gathered.add(reader.end());
  return gathered.reply;
}

/** Cuts out what the assistant wrote: behind what both have, from the beginning of its turn. */
function cut(asked: PreparedConversation, whole: string): { text: string; format: ReplyFormat } {
  // Thinking that the prompt opens is not repeated in a history.
  const [last = ""] = /<[^<>]*>\s*$/.exec(asked.text) ?? [];
  const most = asked.text.length - (asked.reply.thinks ? last.length : 0);
  let same = 0;
  while (same < most && asked.text[same] === whole[same]) same++;
  const format = { ...asked.reply, tools: toolShapes(tools), single: false, thinks: false };
  return { text: whole.slice(same).replace(/^<\/think>/, ""), format };
}

test("a call that a real template renders is read back at every split", { skip }, (t) => {
  const wrong: string[] = [];
  const told: string[] = [];
  for (const file of readdirSync(folder!)
    .filter((name) => name.endsWith(".jinja"))
    .sort()) {
    const source = readFileSync(join(folder!, file), "utf8");
    const asked = prepare(source, {});
    const both = [2, 1].map((n) =>
      prepare(source, { messages: talk(n), addGenerationPrompt: false, continueLast: false }),
    );
    const count = both[0] === undefined ? 1 : 2;
    const whole = both[0] ?? both[1];
    if (asked === undefined || whole === undefined) {
      told.push(`${file}: cannot be rendered`);
      continue;
    }
    const { text, format } = cut(asked, whole.text);
    const check = (pieces: readonly string[]): string | undefined => {
      const reply = read(pieces, format);
      try {
        const got = reply.calls.map(({ name, arguments: json }) => [name, JSON.parse(json)]);
        assert.deepEqual(got, calls.slice(0, Math.max(1, Math.min(count, got.length))));
        return undefined;
      } catch {
        return `${file} (${asked.reply.dialect.name}): ${JSON.stringify(reply)} of ${JSON.stringify(text)}`;
      }
    };
    const points = [...text];
    let fault = check([text]) ?? check(points);
    for (let at = 1; at < points.length && fault === undefined; at++)
      fault = check([points.slice(0, at).join(""), points.slice(at).join("")]);
    if (fault !== undefined) wrong.push(fault);
    told.push(`${file}: ${asked.reply.dialect.name}, ${read([text], format).calls.length} of ${count} calls`);
  }
  t.diagnostic(`\n${told.join("\n")}`);
  assert.deepEqual(wrong, []);
});
