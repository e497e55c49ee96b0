import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../package-root.js";
import { memoryLimit } from "../../weights/memory-limit.js";
import { capabilities, capabilityRows, features, systems } from "./capabilities.js";

const addon = { state: "missing", path: undefined, reason: "not built" } as const;

test("docs/portability.md has a row for each feature, as doctor has it", () => {
  const page = readFileSync(join(packageRoot(), "docs", "portability.md"), "utf8");
  for (const { name, by } of features)
    assert.ok(page.includes(`| ${name} | ${systems.map((system) => by[system] ?? "-").join(" | ")} |`), name);
});

test("what a system lacks, and what needs the addon, is not there", () => {
  const found = capabilities({ system: "macos", addon, memory: memoryLimit() });
  const named = (name: string) => found.find((capability) => capability.name === name);
  assert.deepEqual(named("huge pages"), { name: "huge pages", available: false, by: null });
  assert.equal(named("mapped files")?.available, false);
  assert.equal(named("asked to end from outside")?.available, true);
  assert.equal(capabilityRows(found).length, features.length);
  assert.ok(capabilityRows(found).some(([there, , how]) => there === "no" && how === "this system has none"));
});
