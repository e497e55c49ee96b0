/** Prose ends where the terminal does, whole words on each line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf } from "./columns.js";
import { proseColumns, wrap } from "./wrap.js";

const words = (text: string): string => text.replace(/\s+/g, " ").trim();

test("lines are as wide as they may be and keep their words", () => {
  const text = "The model needs 4.2 GiB and the budget is 2.0 GiB: give it `--memory 5GiB`, or take a smaller one.";
  for (let columns = 24; columns <= 130; columns++) {
    const lines = wrap(text, columns).split("\n");
    assert.equal(words(lines.join(" ")), text);
    for (const [i, line] of lines.entries()) {
      assert.ok(columnsOf(line) <= columns, line);
      assert.equal(line, line.trimEnd());
      // The next word would not have fitted.
      const next = /^(`[^`]*`\S*|\S+)/.exec(lines[i + 1] ?? "")?.[0];
      if (next !== undefined) assert.ok(columnsOf(line) + 1 + next.length > columns, `${columns}: ${line}|${next}`);
    }
    assert.ok(
      lines.some((line) => line.includes("`--memory 5GiB`")),
      "a command is one word",
    );
  }
});

test("indents stay, other lines hang, a long word is not cut", () => {
  assert.equal(wrap("  one two three four five six", 14, { hanging: 2 }), "  one two\n    three four\n    five six");
  assert.equal(wrap("error[X]: /a/very/long/path/to/a/file no", 20), "error[X]:\n/a/very/long/path/to/a/file\nno");
  assert.equal(wrap("first\n\nsecond line", 80), "first\n\nsecond line");
  assert.equal(wrap("as long as it is ".repeat(9), undefined), "as long as it is ".repeat(9));
});

test("wide characters count twice, and break where they stand", () => {
  const text = "\u30e2\u30c7\u30eb\u306f\u5927\u304d\u3059\u304e\u307e\u3059: \u8a00\u8a9e model";
  for (let columns = 20; columns < 40; columns++) {
    const wrapped = wrap(`name ${text} end`, columns);
    assert.equal(wrapped.replace(/\s/g, ""), `name ${text} end`.replace(/\s/g, ""));
    for (const line of wrapped.split("\n")) assert.ok(columnsOf(line) <= columns, `${columns}: ${line}`);
  }
});

test("a terminal's width counts, within reason; files have none", () => {
  assert.equal(proseColumns({}), undefined);
  assert.equal(proseColumns({ isTTY: true, columns: 80 }), 80);
  assert.equal(proseColumns({ isTTY: true, columns: 300 }), 120);
  assert.equal(proseColumns({ isTTY: true, columns: 3 }), 20);
  assert.equal(proseColumns({ isTTY: true, columns: 0 }), 80);
});
