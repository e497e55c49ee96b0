/** ARCHITECTURE.md names files that are there, and each walk through the code names each of its files once. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/package-root.js";

const root = packageRoot();
const page = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
const namedIn = (text: string): string[] =>
  [...text.matchAll(/`([\w./-]+\.(?:ts|tsx|mjs|cc|h|inl|md))`/g)].map((match) => match[1]!);

test("every file that is named exists", () => {
  const files = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).split("\n");
  const missing = namedIn(page).filter((name) => !files.some((file) => `/${file}`.endsWith(`/${name}`)));
  assert.deepEqual(missing, []);
});

/** The most files a reader should have to open. A token's was 24 before rooms were sorted by what they hold. */
const walks = { token: [15, 20], tile: [8, 12], "new model": [6, 10] } as const;

for (const [name, [least, max]] of Object.entries(walks))
  test(`the walk of a ${name} has at most ${max} files, each named once and by its whole path`, () => {
    const [, walk] = new RegExp(`## The life of a ${name}\\n+((?:\\|.*\\n)+)`).exec(page) ?? [];
    const named = namedIn(walk ?? "");
    assert.ok(named.length >= least && named.length <= max, `${named.length} files`);
    assert.equal(new Set(named).size, named.length);
    for (const file of named) assert.ok(existsSync(join(root, "src", file)) || existsSync(join(root, file)), file);
  });

test("the walk of a request names its files in the order they are met, each once", () => {
  const [, walk] = /## The life of a request\n+([\s\S]*?)\n## /.exec(page) ?? [];
  const named = namedIn(walk ?? "");
  assert.ok(named.length >= 10, `${named.length} files`);
  assert.equal(new Set(named).size, named.length, named.filter((file, i) => named.indexOf(file) !== i).join(" "));
});
