import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isCached } from "./page-cache.js";

test("a file is cached when nine of ten pages come at memory's pace", () => {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-cache-"));
  const file = join(folder, "file");
  writeFileSync(file, "x");
  const offsets: number[] = [];
  const slow = (every: number) => (_: number, at: number) => (offsets.push(at) % every === 0 ? 0.2 : 0.002);
  try {
    assert.equal(isCached(file, 2 ** 30, slow(1000)), true);
    assert.equal(isCached(file, 2 ** 30, slow(12)), true);
    assert.equal(isCached(file, 2 ** 30, slow(3)), false);
    assert.ok(offsets.every((at) => at % 4096 === 0 && at > 0 && at < 2 ** 30));
    assert.equal(isCached(join(folder, "absent"), 2 ** 30), false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
