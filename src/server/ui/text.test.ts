import assert from "node:assert/strict";
import { test } from "node:test";
import { plainText } from "./answer-maker.js";
import { branchTo, leafUnder } from "./branch.js";
import { idPattern, newId } from "./ids.js";
import { splitThinking } from "./reasoning.js";
import type { Message } from "./wire.js";

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

const message = (id: string, parent: string | null): Message => ({
  id,
  parent,
  role: "user",
  content: "",
  createdAt: "",
});
//  a - b - d
//    \ c - e
const tree = [message("a", null), message("b", "a"), message("c", "a"), message("d", "b"), message("e", "c")];

test("branches of a tree of messages", () => {
  assert.deepEqual(
    branchTo(tree, "e").map(({ id }) => id),
    ["a", "c", "e"],
  );
  assert.deepEqual(branchTo(tree, null), []);
  assert.equal(leafUnder(tree, "b"), "d");
  assert.equal(leafUnder(tree, "a"), "e");
});

test("a model without a template continues the text", () => {
  const say = (...turns: [string, string][]) => plainText(turns.map(([role, content]) => ({ role, content })));
  assert.equal(say(["user", "Once upon"]), "Once upon");
  assert.equal(say(["system", "Title"], ["user", "Once"]), "Title\nOnce");
  assert.equal(say(["user", "Once upon"], ["assistant", " a time"], ["user", "Then"]), "Once upon a time\nThen");
  assert.equal(say(["user", "Once upon"], ["assistant", " a time"], ["user", " there"]), "Once upon a time there");
});

test("names sort by age and differ", () => {
  const ids = Array.from({ length: 100 }, () => newId());
  assert.equal(new Set(ids).size, 100);
  for (const id of ids) assert.match(id, idPattern);
  assert.ok(newId(1_000_000) < newId(2_000_000) && newId(2 ** 40) < newId(2 ** 41));
});
