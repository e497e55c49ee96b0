/** The generated sides of the boundary table are those of the table, and the binary was built from them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { addon, skipAddon } from "../../test/support/addon.js";
import {
  boundaryHeader,
  boundaryVersionModule,
  headerPath,
  boundaryVersion as madeVersion,
  versionPath,
} from "../../test/support/boundary-header.js";
import { packageRoot } from "../package-root.js";
import { kvTypes, modelCounters } from "./boundary.js";
import { boundaryVersion } from "./boundary-version.js";
import { idsOf, NamedNumbers } from "./named-numbers.js";

test("native/boundary.h and boundary-version.ts are what the tables say (node scripts/write-boundary.mjs)", () => {
  const file = (path: string) => readFileSync(join(packageRoot(), path), "utf8");
  assert.equal(file(headerPath), boundaryHeader());
  assert.equal(file(versionPath), boundaryVersionModule());
  assert.equal(boundaryVersion, madeVersion);
});

test("the binary was built from these tables", { skip: skipAddon }, () => {
  assert.equal(addon.boundary(), boundaryVersion);
});

test("numbers are found by their names", () => {
  assert.deepEqual(idsOf(kvTypes), { f16: 0, q8_0: 1, q4_0: 2 });
  const numbers = new NamedNumbers(modelCounters);
  numbers.values.set([5, 4, 3, 2, 1]);
  numbers.set("kvBytes", 7);
  assert.deepEqual(numbers.all(), { activationBytes: 5, kvBytes: 7, scratchBytes: 3, weightBytes: 2, allocations: 1 });
  assert.equal(numbers.get("allocations"), 1);
});
