/**
 * Views of the command line at 80 and 120 columns are the files of test/golden/terminal. They hold our own words: after
 * a change `node scripts/write-terminal-views.mjs` writes them, to be read before they are kept.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { columnsOf } from "../src/cli/terminal/columns.js";
import { packageRoot } from "../src/package-root.js";
import { greeting, known, terminalView, viewNames } from "./support/terminal-views.js";

test("views are as they were, and no line is longer than the terminal", async () => {
  for (const columns of [80, 120])
    for (const name of viewNames) {
      const shown = await terminalView(name, columns);
      for (const line of shown.split("\n")) assert.ok(columnsOf(line) <= columns, `${name}: ${line}`);
      const path = join(packageRoot(), `test/golden/terminal/${name}-${columns}.txt`);
      assert.equal(shown, readFileSync(path, "utf8"), `${name} at ${columns} columns`);
    }
});

test("colours add nothing but colours", async () => {
  const painted = await greeting(known, 80, true);
  assert.notEqual(painted, await greeting(known, 80));
  assert.equal(painted.replace(/\x1b\[\d+m/g, ""), await greeting(known, 80));
});
