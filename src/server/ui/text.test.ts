import assert from "node:assert/strict";
import { test } from "node:test";
import { plainText } from "./answer-maker.js";
import { branchTo, leafUnder } from "./branch.js";
import { idPattern, newId } from "./ids.js";
import type { Message } from "./wire.js";

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
