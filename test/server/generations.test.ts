/** Answers in a form as a server makes them, several at a time; more of them: scripts/constraint-generations.mjs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runServed } from "../constraint/served-generations.js";
import { needsThreads } from "./support.js";

test("answers made together keep to their schemas and grammars, also where a stop text cuts them", {
  skip: needsThreads,
}, async () => {
  const { generations, ended, faults } = await runServed(24, 3);
  assert.deepEqual(faults, []);
  assert.ok(generations >= 24 && ended > 8);
});
