/** Columns by what terminals show, not by units of a string. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf, cut, padEnd, padStart } from "./columns.js";

test("East Asian text and emoji take two columns, marks none", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["", 0],
    ["plain", 5],
    ["Gr\u00f6\u00dfe", 5],
    ["e\u0301", 1],
    ["\u8a00\u8a9e", 4],
    ["\u30e2\u30c7\u30eb", 6],
    ["\uff76\uff85", 2],
    ["\ud55c\uad6d\uc5b4", 6],
    ["\u1112\u1161\u11ab", 2],
    ["\uff21", 2],
    ["\u{1f680}", 2],
    ["\u{1f469}\u200d\u{1f4bb}", 2],
    ["\u{1f1e9}\u{1f1ea}", 2],
    ["\u2764\ufe0f", 2],
    ["\u2764", 1],
    ["\u{20000}", 2],
    ["a\u200db", 2],
    ["\x1b[31mred\x1b[39m", 3],
  ];
  for (const [text, columns] of cases) assert.equal(columnsOf(text), columns, JSON.stringify(text));
});

test("a text is cut to columns and never through a character", () => {
  assert.equal(cut("short", 5), "short");
  assert.equal(cut("a longer text", 9), "a long...");
  assert.equal(cut("/models/org/name/file.gguf", 13, "start"), ".../file.gguf");
  assert.equal(cut("\u8a00\u8a9e\u30e2\u30c7\u30eb", 8), "\u8a00\u8a9e...");
  assert.equal(cut("e\u0301e\u0301e\u0301e\u0301e\u0301", 4), "e\u0301...");
  assert.equal(cut("anything", 2), "..");
  for (let columns = 0; columns < 20; columns++) {
    for (const side of ["end", "start"] as const)
      assert.ok(columnsOf(cut("\u8a00a\u8a9eb\u{1f680}cd\u30e2\u30c7\u30eb", columns, side)) <= columns);
  }
});

test("padding counts columns", () => {
  assert.equal(padEnd("\u8a00", 4), "\u8a00  ");
  assert.equal(padStart("\u8a00", 4), "  \u8a00");
  assert.equal(padEnd("long", 2), "long");
});
