/** How much of Jinja @huggingface/jinja covers: the cases under HUNDREDWEIGHT_VECTORS on which Python's Jinja2 agrees. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseTemplate } from "../src/chat/index.js";

const root = process.env.HUNDREDWEIGHT_VECTORS;
const skip = root === undefined ? "HUNDREDWEIGHT_VECTORS is not set: Jinja cases are NOT tested" : false;

interface JinjaCase {
  readonly section: string;
  readonly name: string;
  readonly template: string;
  readonly vars: Record<string, unknown>;
  readonly expect: string;
  readonly python_jinja2: boolean;
}

test("Jinja cases render as Python's Jinja2 does, as many as the library manages", { skip }, (t) => {
  const all = JSON.parse(readFileSync(join(root!, "vectors/chat-templates/jinja-cases.json"), "utf8")) as JinjaCase[];
  const cases = all.filter((c) => c.python_jinja2);
  const failed: string[] = [];
  let wrong = 0;
  for (const { section, name, template, vars, expect } of cases) {
    let result: string;
    try {
      result = parseTemplate(template).render(vars);
    } catch (error) {
      failed.push(`${section}, ${name}: ${(error as Error).message}`);
      continue;
    }
    if (result === expect) continue;
    wrong++;
    failed.push(`${section}, ${name}: ${JSON.stringify(result)} instead of ${JSON.stringify(expect)}`);
  }
  for (const line of failed) t.diagnostic(line);
  t.diagnostic(
    `${cases.length - failed.length} of ${cases.length} equal; ${failed.length - wrong} refused, ${wrong} silently different`,
  );
  // @huggingface/jinja 0.5.11: 88 of 140. A newer version may do better, not worse.
  assert.ok(cases.length - failed.length >= 88);
});
