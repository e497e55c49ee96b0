// Holds docs/coverage.md to the tests it names, so that a row cannot outlive its proof.
//   node scripts/check-coverage.mjs               every row names tests of the sources, or says why not
//   node scripts/check-coverage.mjs --ran FILE    and each of them ran (FILE: `scripts/test.mjs --ran FILE` wrote it)
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const page = "docs/coverage.md";
const rows = 65;
const { values: options } = parseArgs({ options: { ran: { type: "string" } } });

const faults = [];
const literally = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
/** `*` of the page is anything a loop fills in. */
const pattern = (name) => new RegExp(`^${name.split("*").map(literally).join(".*")}$`);

/** Names in a test file: string literals, in which `${...}` is what a loop fills in. */
const sources = new Map();
function namesIn(file) {
  if (!sources.has(file)) {
    const text = readFileSync(join(root, file), "utf8");
    const names = [...text.matchAll(/"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g)];
    sources.set(
      file,
      names.map(([, plain, filled]) =>
        (plain ?? filled.replace(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g, "*")).replace(/\\(.)/g, "$1"),
      ),
    );
  }
  return sources.get(file);
}

/** By number: the tests a row names. */
const named = new Map();
for (const line of readFileSync(join(root, page), "utf8").split("\n")) {
  const cells = /^\| (\d+) \|(.*)\|$/.exec(line);
  if (cells === null) continue;
  const [number, proof] = [Number(cells[1]), cells[2].split(" | ").at(-1).trim()];
  if (named.has(number)) faults.push(`row ${number} stands twice`);
  const tests = [...proof.matchAll(/`([\w/.-]+\.(?:test|suite)\.ts): ([^`]+)`/g)].map(([, file, name]) => ({
    file,
    name,
  }));
  if (tests.length === 0 && proof.length < 10) faults.push(`row ${number} names no test and no reason`);
  for (const { file, name } of tests) {
    if (name.replaceAll(/[*\s]/g, "").length < 8) faults.push(`row ${number}: '${name}' may be any test`);
    if (!existsSync(join(root, file))) faults.push(`row ${number}: there is no ${file}`);
    else if (!namesIn(file).some((found) => found === name || pattern(name).test(found)))
      faults.push(`row ${number}: ${file} has no test '${name}'`);
  }
  named.set(number, tests);
}
for (let number = 1; number <= rows; number++) if (!named.has(number)) faults.push(`row ${number} is missing`);

let ran = "";
if (options.ran !== undefined) {
  const lines = readFileSync(options.ran, "utf8").split("\n").filter(Boolean);
  const results = lines.map((line) => JSON.parse(line));
  const skipped = [];
  for (const [number, tests] of named)
    for (const { name } of tests) {
      const found = results.filter((result) => pattern(name).test(result.name));
      if (found.length === 0) faults.push(`row ${number}: '${name}' did not run`);
      else if (found.every((result) => result.skipped)) skipped.push(`row ${number}: ${name}`);
    }
  for (const each of skipped) console.log(`coverage: SKIPPED in this run: ${each}`);
  ran = `, ${results.length} tests ran`;
}
const count = [...named.values()].reduce((sum, tests) => sum + tests.length, 0);
const proven = [...named.values()].filter((tests) => tests.length > 0).length;
console.log(`coverage: ${named.size} rows, ${proven} of them proven by ${count} tests${ran}`);
for (const fault of faults) console.error(`${page}: ${fault}`);
process.exit(faults.length > 0 ? 1 : 0);
