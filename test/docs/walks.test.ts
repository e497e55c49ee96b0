/** ARCHITECTURE.md names files that are there, and the walk of a token names each of its files once. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/package-root.js";

const root = packageRoot();
const page = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
const namedIn = (text: string): string[] =>
  [...text.matchAll(/`([\w./-]+\.(?:ts|tsx|mjs|cc|h|inl))`/g)].map((match) => match[1]!);

test("every file that is named exists", () => {
  const files = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).split("\n");
  const missing = namedIn(page).filter((name) => !files.some((file) => `/${file}`.endsWith(`/${name}`)));
  assert.deepEqual(missing, []);
});

test("the walk of a token has at most 20 files, each named once and by its whole path", () => {
  const [, walk] = /## The life of a token\n+((?:\|.*\n)+)/.exec(page) ?? [];
  const named = namedIn(walk ?? "");
  assert.ok(named.length >= 15 && named.length <= 20, `${named.length} files`);
  assert.equal(new Set(named).size, named.length);
  for (const name of named) assert.ok(existsSync(join(root, "src", name)) || existsSync(join(root, name)), name);
});
