import assert from "node:assert/strict";
import { test } from "node:test";
import { type ChatMessage, type Conversation, prepareConversation } from "./index.js";

const user: ChatMessage = { role: "user", content: "q" };
const tool = {
  type: "function",
  function: { name: "add", description: "Adds", parameters: { type: "object", properties: { a: { type: "number" } } } },
};
const turns =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}" +
  "{% if add_generation_prompt %}<|assistant|>{% endif %}";

function prepare(template: string | Record<string, string>, conversation: Partial<Conversation>) {
  const templates = typeof template === "string" ? { default: template } : template;
  return prepareConversation(new Map(Object.entries(templates)), { messages: [user], ...conversation });
}
const text = (template: string, conversation: Partial<Conversation>): string => prepare(template, conversation).text;

test("system text that a template refuses or drops goes before the next user's message", () => {
  const system: ChatMessage = { role: "system", content: "S" };
  const refuses = `{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}${turns}`;
  const drops = turns.replace("<|{{", "{% if m.role == 'system' %}{% continue %}{% endif %}<|{{");
  for (const template of [refuses, drops]) {
    assert.equal(text(template, { messages: [system, user] }), "<|user|>S\n\nq<|assistant|>", template);
    assert.equal(
      text(template, { messages: [system, { role: "user", content: [{ type: "text", text: "q" }] }] }),
      "<|user|>S\n\nq<|assistant|>",
    );
  }
  assert.equal(text(turns, { messages: [system, user] }), "<|system|>S<|user|>q<|assistant|>");
  const firstOnly =
    "{% if messages[0].role == 'system' %}[{{ messages[0].content }}]{% endif %}" +
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('late') }}{% endif %}" +
    "{% if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}";
  const late: ChatMessage = { role: "system", content: "T" };
  assert.equal(text(firstOnly, { messages: [system, late, user] }), "[S\n\nT]<|user|>q");
  assert.equal(
    text(firstOnly, { messages: [system, user, { role: "assistant", content: "a" }, late, user] }),
    "[S]<|user|>q<|assistant|>a<|user|>T\n\nq",
  );
});

test("arguments are objects where templates read objects, and texts where they read texts", () => {
  const object =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}" +
    "{% for k, v in c.function.arguments.items() %}{{ c.function.name }}.{{ k }}={{ v | tojson }};{% endfor %}" +
    "{% endfor %}{% endfor %}";
  const plain = object.replace(
    "{% for k, v in c.function.arguments.items() %}{{ c.function.name }}.{{ k }}={{ v | tojson }};{% endfor %}",
    "{{ c.function.name + c.function.arguments }}",
  );
  const talk = (args: unknown): ChatMessage[] => [
    user,
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "c", type: "function", function: { name: "add", arguments: args } }],
    },
    { role: "tool", tool_call_id: "c", content: "3" },
  ];
  const json = '{"b": 1.0, "a": [1, {"10": 2, "9": 1}]}';
  assert.equal(
    text(object, { messages: talk(json) }),
    '<|user|>q<|assistant|>add.b=1.0;add.a=[1, {"10": 2, "9": 1}];<|tool|>3',
    "numbers and order stay as they were written",
  );
  assert.equal(text(object, { messages: talk({ x: true }) }), "<|user|>q<|assistant|>add.x=true;<|tool|>3");
  assert.equal(text(plain, { messages: talk(json) }), `<|user|>q<|assistant|>add${json}<|tool|>3`);
  assert.equal(
    text(object, { messages: talk('{"broken') }),
    '<|user|>q<|assistant|>add.broken_arguments="{\\"broken";<|tool|>3',
  );
  assert.equal(text(object, { messages: talk("") }), "<|user|>q<|assistant|><|tool|>3");
});

test("a template that knows no tools has them in words, calls and results too", () => {
  const call = { id: "c", type: "function", function: { name: "add", arguments: '{"a": 1}' } };
  const messages: ChatMessage[] = [
    user,
    { role: "assistant", content: "", tool_calls: [call] },
    { role: "tool", tool_call_id: "c", content: "3" },
  ];
  const refuses = "{% if m.role == 'tool' %}{{ raise_exception('roles') }}{% endif %}";
  const strict = `{% for m in messages %}${refuses}{% endfor %}${turns}`;
  const made = prepare(strict, { messages, tools: [tool] });
  assert.match(made.text, /^<\|system\|>You can call.*"name": "add".*<\|user\|>q<\|assistant\|><tool_call>/s);
  assert.match(made.text, /<tool_call>\n\{"name": "add", "arguments": \{"a": 1\}\}\n<\/tool_call>/);
  assert.match(made.text, /<\|user\|><tool_response>\n3\n<\/tool_response><\|assistant\|>$/);
  assert.equal(made.reply.dialect.name, "hermes");
});

test("the variant for tools, ChatML where there is none, dates and thinking defined", () => {
  const both = { default: "plain", tool_use: "{{ tools | tojson }}<tool_call>" };
  assert.equal(prepare(both, {}).text, "plain");
  assert.match(prepare(both, { tools: [tool] }).text, /"name": "add".*<tool_call>$/);
  const none = prepareConversation(new Map(), { messages: [user] });
  assert.equal(none.text, "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n");
  assert.match(none.notes[0]!, /no chat template/);
  const vars = "{{ date_string }}|{{ datetime | length > 10 }}|{{ enable_thinking }}";
  assert.match(text(vars, {}), /^\d\d [A-Z][a-z]{2} \d{4}\|True\|True$/);
  assert.match(text(vars, { variables: { enable_thinking: false, date_string: "x" } }), /^x\|True\|False$/);
});

test("a last message of the assistant is gone on with", () => {
  const last = (more: Partial<ChatMessage>): ChatMessage[] => [user, { role: "assistant", content: "", ...more }];
  const made = prepare(turns, { messages: last({ content: "Once <|assistant|>" }) });
  assert.equal(made.text, "<|user|>q<|assistant|>Once <|assistant|>");
  assert.equal(made.segments.at(-1)!.user, true);
  assert.equal(
    text(turns, { messages: last({ content: "Once" }), continueLast: false }),
    "<|user|>q<|assistant|>Once<|assistant|>",
  );
  const thinks = `${turns}{{ '<think>\\n' }}`;
  assert.equal(prepare(thinks, {}).reply.thinks, true);
  const open = prepare(thinks, { messages: last({ reasoning_content: "hm" }) });
  assert.equal(open.text, "<|user|>q<|assistant|><think>\nhm");
  const said = prepare(thinks, { messages: last({ content: "Yes", reasoning_content: "hm" }) });
  assert.deepEqual([said.text, said.reply.thinks], ["<|user|>q<|assistant|><think>\nhm\n</think>\n\nYes", false]);
});

test("a reply that has to be a call begins as one", () => {
  const template = "{% for t in tools %}{{ t | tojson }}{% endfor %}<tool_call>|";
  const any = prepare(template, { tools: [tool], mustCall: true });
  assert.ok(any.text.endsWith('|<tool_call>\n{"name": "'), any.text);
  const one = prepare(template, { tools: [tool], mustCall: "add" });
  assert.ok(one.text.endsWith('|<tool_call>\n{"name": "add", "arguments": '), one.text);
  assert.equal(one.reply.begun, '<tool_call>\n{"name": "add", "arguments": ');
});

test("messages as other clients write them: function calls, custom tools, names of results, ids of Mistral", () => {
  const printed =
    "{% for m in messages %}{{ m.role }}:{{ m.name }}:{% for c in m.tool_calls or [] %}" +
    "{{ c.id }} {{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}" +
    "{{ m.content or '' }};{% endfor %}[TOOL_CALLS][";
  const messages: ChatMessage[] = [
    { role: "assistant", content: null, function_call: { name: "old", arguments: "{}" } },
    { role: "function", name: "old", content: "1" },
    { role: "assistant", tool_calls: [{ id: "call_1", type: "custom", custom: { name: "patch", input: "x" } }] },
    { role: "tool", tool_call_id: "call_1", content: "2" },
    user,
  ];
  const shown = text(printed, { messages });
  const id = /([A-Za-z0-9]+) patch/.exec(shown)![1]!;
  assert.equal(id.length, 9);
  assert.ok(shown.includes('patch {"input": "x"}'), shown);
  assert.ok(shown.includes("tool:patch:2;") && shown.includes("tool:old:1;"), shown);
});
