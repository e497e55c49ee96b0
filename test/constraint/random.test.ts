/** A hundred and twenty of the generations that scripts/constraint-generations.mjs makes by ten thousands. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runGenerations } from "./random-generations.js";

test("a random model under random constraints: ended texts are right, cut ones may become right", () => {
  const { faults, ended, cut, unknown, refused } = runGenerations(120, 1);
  assert.deepEqual(faults, []);
  // Both happen, and few constraints are impossible.
  const counts = `${ended} ended, ${cut} cut (${unknown} unknown), ${refused} refused`;
  assert.ok(ended > 20 && cut > 4 && unknown < cut / 2 && refused < 60, counts);
});
