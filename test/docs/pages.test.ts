/** Pages that have to agree with the code: every option, every variable of the environment, every decision. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import { cliPage } from "../support/cli-page.js";
import { dialectsPage } from "../support/dialects-page.js";
import { plansSection } from "../support/plans-page.js";

const root = packageRoot();
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const noGit = existsSync(join(root, ".git")) ? false : "no git checkout: the files of the project are not known";

/** All files of the project but those that only a build makes. */
const sources = (): string[] =>
  execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" })
    .split("\n")
    .filter((path) => /^(src|native|scripts|bench|test|bin|web|\.ci)\//.test(path) && existsSync(join(root, path)));

test("docs/cli.md is what the commands say of themselves (else: node scripts/write-cli-page.mjs)", async () => {
  assert.equal(read("docs/cli.md"), await cliPage());
});

test("docs/dialects.md has every dialect (else: node scripts/write-dialects-page.mjs)", () => {
  assert.equal(read("docs/dialects.md"), dialectsPage());
});

test("docs/models.md has the plans of models people ask about (else: node scripts/write-plans.mjs)", () => {
  assert.ok(read("docs/models.md").endsWith(`\n\n${plansSection()}`));
});

test("docs/environment.md has every variable that is read, and no other", { skip: noGit }, () => {
  const pattern = /HUNDREDWEIGHT_[A-Z_]+[A-Z]/g;
  const used = new Set(
    sources().flatMap((path) => (/\.(gguf|png|json)$/.test(path) ? [] : (read(path).match(pattern) ?? []))),
  );
  const told = new Set(
    [...read("docs/environment.md").matchAll(/^\| `(HUNDREDWEIGHT_[A-Z_]+)` \|/gm)].map(([, name]) => name!),
  );
  assert.deepEqual([...told].sort(), [...used].sort());
});

test("every decision has a number of its own and a line in the index", () => {
  const files = readdirSync(join(root, "docs/decisions")).filter((name) => name !== "README.md");
  const index = read("docs/decisions/README.md");
  for (const name of files) {
    assert.match(name, /^\d{4}-[a-z0-9-]+\.md$/);
    assert.ok(index.includes(`(${name})`), `${name} is missing in docs/decisions/README.md`);
  }
  const numbers = files.map((name) => name.slice(0, 4));
  assert.equal(new Set(numbers).size, numbers.length, "two decisions have one number");
});
