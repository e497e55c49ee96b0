/** Pages that have to agree with the code: every option, every variable of the environment, every decision. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import { asked } from "../support/asked.js";
import { cliPage } from "../support/cli-page.js";
import { dialectsPage } from "../support/dialects-page.js";
import { manPage } from "../support/man-page.js";
import { mtpSection } from "../support/mtp-page.js";
import { plansHeading, plansRow, plansSection } from "../support/plans-page.js";
import { sweep, wholeSweeps } from "../support/sweeps.js";

const root = packageRoot();
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const noGit = existsSync(join(root, ".git")) ? false : "no git checkout: the files of the project are not known";

/** All files of the project but those that only a build makes. */
const sources = (): string[] =>
  execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" })
    .split("\n")
    .filter((path) => /^(src|native|scripts|bench|test|bin|web|\.ci)\//.test(path) && existsSync(join(root, path)));

test("man/hundredweight.1 is what the commands say of themselves (else: node scripts/write-cli-page.mjs)", async () => {
  assert.ok(read("man/hundredweight.1") === (await manPage()), "the page is not of these commands");
});

test("docs/cli.md is what the commands say of themselves (else: node scripts/write-cli-page.mjs)", async () => {
  assert.equal(read("docs/cli.md"), await cliPage());
});

test("docs/dialects.md has every dialect (else: node scripts/write-dialects-page.mjs)", () => {
  assert.equal(read("docs/dialects.md"), dialectsPage());
});

test("docs/models.md has the plans of models people ask about (else: node scripts/write-plans.mjs)", () => {
  const page = read("docs/models.md");
  if (wholeSweeps) assert.ok(page.endsWith(`\n\n${plansSection()}`));
  // A plan takes a moment and a model has ten: an ordinary run makes those of a few.
  const cellsOf = (line: string): string[] =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const rows = page.slice(page.indexOf(plansHeading)).split("\n").map(cellsOf);
  assert.deepEqual(
    rows.flatMap(([name = ""]) => /^`(.+)`$/.exec(name)?.[1] ?? []),
    Object.keys(asked),
  );
  for (const name of sweep(Object.keys(asked), 5)) {
    const row = plansRow(name);
    assert.deepEqual(
      rows.find(([cell]) => cell === row[0]),
      row,
    );
  }
});

test("docs/models.md names the families whose files hold blocks that guess further tokens", () => {
  assert.ok(
    read("docs/models.md").includes(`\n\n${mtpSection()}\n${plansHeading}`),
    "node scripts/write-models-page.mjs",
  );
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
