import assert from "node:assert/strict";
import { test } from "node:test";
import { ThinkingBudget, type ThinkingLimit } from "./thinking-budget.js";

const usual: ThinkingLimit = { budget: 3, open: ["<think>"], close: ["</think>"], opened: false, end: [7, 8] };

/** Tokens that are taken: those forced, or "." where the model's own word came. */
function taken(limit: Partial<ThinkingLimit>, texts: readonly string[]): (number | string)[] {
  const budget = new ThinkingBudget({ ...usual, ...limit });
  return texts.map((text) => {
    const { forced } = budget;
    budget.accept(text);
    return forced ?? ".";
  });
}

test("thinking ends after its tokens, not inside of a character, and only if it has not ended by itself", () => {
  assert.deepEqual(taken({}, ["<th", "ink>", "a", "b", "c", "x", "x", "d"]), [".", ".", ".", ".", ".", 7, 8, "."]);
  assert.deepEqual(taken({ opened: true }, ["a", "b", "", "c", "x"]), [".", ".", ".", ".", 7]);
  assert.deepEqual(taken({ opened: true }, ["a", "</thi", "nk>", "c", "d"]), [".", ".", ".", ".", "."]);
  assert.deepEqual(taken({ budget: 0, opened: true }, ["x", "x", "a"]), [7, 8, "."]);
  assert.deepEqual(taken({ budget: 0 }, ["<think>", "x", "x", "a"]), [".", 7, 8, "."]);
  assert.deepEqual(taken({}, ["no", "thinking", "here", "at", "all", "."]), [".", ".", ".", ".", ".", "."]);
});
