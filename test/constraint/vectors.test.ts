/** llama.cpp's grammar and schema cases, and the JSON-Schema-Test-Suite, where the folder of vectors is there. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import { type KeywordCount, runSuite, suiteFiles, unpackSuite } from "./schema-suite.js";
import { Judge } from "./support.js";

const folder = process.env.HUNDREDWEIGHT_VECTORS;
const grammars = join(folder ?? "", "vectors", "grammar", "grammar-cases.json");
const suite = join(folder ?? "", "vectors", "json-schema", "JSON-Schema-Test-Suite.tar.xz");
const skipOf = (path: string): string | false =>
  folder !== undefined && existsSync(path) ? false : `SKIPPED: set HUNDREDWEIGHT_VECTORS to the folder with ${path}`;
for (const path of [grammars, suite]) if (skipOf(path) !== false) console.error(`constraints: ${skipOf(path)}`);

interface GrammarCase {
  readonly kind: "gbnf" | "json_schema";
  readonly desc: string;
  readonly source: string;
  readonly passing: readonly string[];
  readonly failing: readonly string[];
}

test("llama.cpp's grammars and schemas accept and refuse what they do there", { skip: skipOf(grammars) }, () => {
  const judge = new Judge();
  const faults: string[] = [];
  for (const { kind, desc, source, passing, failing } of JSON.parse(readFileSync(grammars, "utf8")) as GrammarCase[]) {
    const constraint: Constraint =
      kind === "gbnf" ? { kind, grammar: source } : { kind, schema: JSON.parse(source) as unknown };
    for (const text of passing) if (!judge.accepts(constraint, text)) faults.push(`${desc} refuses ${text}`);
    for (const text of failing) if (judge.accepts(constraint, text)) faults.push(`${desc} accepts ${text}`);
  }
  assert.deepEqual(faults, []);
});

test("the JSON-Schema-Test-Suite: nothing is judged wrongly, few schemas are refused", { skip: skipOf(suite) }, () => {
  const unpacked = unpackSuite(suite);
  try {
    for (const [draft, name] of [
      ["draft7", "draft-7"],
      ["draft2020-12", "2020-12"],
    ] as const) {
      const faults: string[] = [];
      const counts = [...runSuite(suiteFiles(unpacked, draft), name, (line) => faults.push(line)).values()];
      const sum = (of: (count: KeywordCount) => number): number => counts.reduce((all, count) => all + of(count), 0);
      assert.deepEqual(
        faults.filter((line) => line.startsWith("wrongly")),
        [],
      );
      assert.ok(sum(({ refused }) => refused) <= 0.35 * sum(({ groups }) => groups), draft);
      assert.ok(sum(({ instances }) => instances) > 500);
    }
  } finally {
    rmSync(unpacked, { recursive: true, force: true });
  }
});
