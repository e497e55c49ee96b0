import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { joulesBetween, readEnergy } from "./energy.js";

test("energy is that of packages, through a counter that goes round; what cannot be read is unknown", () => {
  const root = mkdtempSync(join(tmpdir(), "hw-energy-"));
  const zone = (folder: string, name: string, microjoules: number | string): void => {
    mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, folder, "name"), `${name}\n`);
    writeFileSync(join(root, folder, "energy_uj"), `${microjoules}\n`);
    writeFileSync(join(root, folder, "max_energy_range_uj"), "262143328850\n");
  };
  try {
    assert.equal(readEnergy(join(root, "none")), undefined);
    mkdirSync(join(root, "intel-rapl"));
    assert.equal(readEnergy(root), undefined);
    zone("intel-rapl:0", "package-0", 1_000_000);
    zone("intel-rapl:0:0", "core", 600_000);
    zone("intel-rapl:1", "package-1", 262_143_000_000);
    zone("intel-rapl:2", "psys", 5);
    const before = readEnergy(root);
    assert.deepEqual([...before!.keys()].sort(), ["intel-rapl:0", "intel-rapl:1"]);
    zone("intel-rapl:0", "package-0", 3_500_000);
    zone("intel-rapl:1", "package-1", 171_150);
    // 2.5 J, and 0.32885 J up to the end of the range and 0.17115 J behind it.
    assert.equal(joulesBetween(before, readEnergy(root)), 3);
    assert.equal(joulesBetween(undefined, before), undefined);
    zone("intel-rapl:1", "package-1", "no number");
    assert.deepEqual([...readEnergy(root)!.keys()], ["intel-rapl:0"]);
  } finally {
    rmSync(root, { recursive: true });
  }
});
