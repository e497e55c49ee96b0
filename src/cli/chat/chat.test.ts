import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { MessageLines } from "../terminal/message-lines.js";
import { PasteFilter } from "../terminal/paste.js";
import { setParameter, shownParameters, unquoted, wordsOf } from "./settings.js";
import { Turns } from "./turns.js";

function messages(...lines: string[]): (string | undefined)[] {
  const reader = new MessageLines();
  return [...lines.map((line) => reader.push(line)).filter((m) => m !== undefined), reader.end()];
}

test("a line is a message; a backslash at its end and triple quotes make one of several", () => {
  assert.deepEqual(messages("a", "b"), ["a", "b", undefined]);
  assert.deepEqual(messages("a\\", "b\\", "c", "d"), ["a\nb\nc", "d", undefined]);
  assert.deepEqual(messages("C:\\dir\\\\"), ["C:\\dir\\\\", undefined]);
  assert.deepEqual(messages('"""a', "  b", 'c"""', "d"), ["a\n  b\nc", "d", undefined]);
  assert.deepEqual(messages('"""', "a", '"""'), ["\na\n", undefined]);
  assert.deepEqual(messages('"""one"""', 'say """ here'), ["one", 'say """ here', undefined]);
  assert.deepEqual(messages('/set system """a', 'b"""'), ["/set system a\nb", undefined]);
  assert.deepEqual(messages('"""a', "b"), ["a\nb"]);
});

function filtered(...chunks: string[]): { filter: PasteFilter; text: string } {
  const filter = new PasteFilter({} as NodeJS.ReadStream);
  for (const chunk of chunks) filter.write(Buffer.from(chunk));
  return { filter, text: String(filter.read() ?? "") };
}

test("a pasted text reaches the line editor as one line, and becomes what it was", () => {
  const { filter, text } = filtered("\u001b[200~Fix:\r\ndef f(x):\n\treturn 1\u001b[201~ now\r");
  assert.doesNotMatch(text.slice(0, -1), /[\r\n\t\u001b]/);
  assert.equal(filter.restore(text.replace(/\r$/, "")), "Fix:\ndef f(x):\n    return 1 now");
  assert.equal(filter.restore("a\u23ceb"), "a\u23ceb", "the next line holds nothing pasted");
});

test(
  "marks may be cut anywhere; keys pass as they are; pasted text commands nothing; its last line feed " + "sends it",
  () => {
    const bytes = "x\u001b[A\u001b[200~1\n2\u001b[31m\u0003\u001b[201~y";
    const { filter, text } = filtered(...bytes);
    assert.equal(filter.restore(text), "x\u001b[A1\n2[31my");
    assert.equal(filtered("\u001b[200~a\nb\n\u001b[201~").text, "a\u23ceb\r");
    assert.equal(filtered("\u001b[200~one word\u001b[201~").text, "one word");
    const own = filtered("\u001b[200~sign \u23ce\nis kept\u001b[201~");
    assert.equal(own.filter.restore(own.text), "sign \u23ce\nis kept");
  },
);

test("an escape that nothing follows is a key", async () => {
  const { filter, text } = filtered("\u001b");
  assert.equal(text, "");
  const [key] = await once(filter, "data");
  assert.equal(String(key), "\u001b");
});

test("a full context leaves out the oldest turns, one by one, never the newest; from 80 % one warning", () => {
  const turns = new Turns(100);
  turns.systemTokens = 10;
  const totals = [30, 50, 70, 85];
  for (const [i, total] of totals.entries()) {
    assert.equal(turns.makeRoom(5, 10), 0);
    turns.evaluated(turns.add(`message ${i}`), total);
    assert.equal(turns.warns(), total >= 80);
  }
  assert.equal(turns.warns(), false, "once");
  assert.deepEqual(
    turns.list.map(({ tokens }) => tokens),
    [20, 20, 20, 15],
  );
  turns.add("new");
  assert.equal(turns.makeRoom(10, 10), 1);
  assert.equal(turns.usedTokens, 65);
  assert.equal(turns.list[0]!.user, "message 1");
  assert.equal(turns.makeRoom(1000, 10), 3);
  assert.deepEqual(
    turns.list.map(({ user }) => user),
    ["new"],
  );
  assert.equal(turns.dropOldest(), false);
  assert.equal(turns.usedTokens, 10, "the system message stays");
});

test("/set parameter: names of the command line, of Ollama and of llama.cpp; wrong ones say so", () => {
  assert.deepEqual(setParameter({}, ["temperature", "0.5"]), { temperature: 0.5 });
  assert.deepEqual(setParameter({ temperature: 1 }, ["top_k", "10"]), { temperature: 1, topK: 10 });
  assert.deepEqual(setParameter({}, ["num_predict", "42"]), { maxTokens: 42 });
  assert.deepEqual(setParameter({}, ["--temp", "0"]), { temperature: 0 });
  assert.deepEqual(setParameter({}, ["stop", "###", "END"]), { stop: ["###", "END"] });
  assert.deepEqual(setParameter({}, ["mirostat_tau", "4"]), { mirostatTau: 4 });
  assert.deepEqual(setParameter({ ignoreEos: true }, ["ignore-eos", "false"]), { ignoreEos: false });
  for (const words of [["temperature", "hot"], ["temperature"], ["top_p", "2"], ["nonsense", "1"], ["num_ctx", "4096"]])
    assert.throws(() => setParameter({}, words), { code: "OPTION_INVALID" });
  assert.equal(shownParameters({ temperature: 0.5, topK: 3 }), "temperature 0.5\ntop-k 3");
  assert.deepEqual(wordsOf(`stop "a b" 'c' d`), ["stop", "a b", "c", "d"]);
  assert.equal(unquoted('"You are"'), "You are");
});
