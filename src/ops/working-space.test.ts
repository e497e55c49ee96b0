import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { weightFile } from "../../test/contract/fixture.js";
import { HundredweightError } from "../errors.js";
import { addonStatus } from "../native/addon.js";
import { createOps } from "./index.js";
import { WorkingSpace } from "./working-space.js";

const skip = addonStatus().state === "loaded" ? false : `SKIPPED: ${addonStatus().reason}`;

test("a verb that wants more working space than was named is an error, not an allocation", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-space-"));
  const ops = createOps({ kind: "native", threads: 2 });
  try {
    const weight = ops.matrix(weightFile(join(folder, "w.bin"), "Q8_0", { rows: 64, cols: 128 }, 1).source);
    const [x, y] = [ops.tensor(8, 128), ops.tensor(8, 64)];
    const space = new WorkingSpace(8, []);
    space.linear(3, 128, ["q8_32"], "store");
    ops.seal(space);
    const product = [{ out: y, weight, bias: null, add: false }];
    const { allocations, scratchBytes } = ops.counters();
    ops.matmul(product, x, 3);
    assert.throws(
      () => ops.matmul(product, x, 8),
      (error: unknown) => error instanceof HundredweightError && /working space/.test(error.message),
    );
    assert.deepEqual({ ...ops.counters(), allocations, scratchBytes }, ops.counters());
    assert.ok(scratchBytes <= space.totalBytes(2));
  } finally {
    ops.close();
    rmSync(folder, { recursive: true });
  }
});
