/**
 * No bit of a logit changes unnoticed. After a change that is meant to change numbers:
 *   node scripts/renew-frozen-logits.mjs NUMERIC_VERSION "why"
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { dtypes } from "../../src/formats/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { numericVersion } from "../../src/ops/numeric-version.js";
import { firstDifference } from "./difference.js";
import { evaluateWay } from "./evaluate-way.js";
import { freeze, frozenModels, frozenWays, readFrozen } from "./frozen.js";

const status = addonStatus();
const best = status.isas?.at(-1) ?? "";
const skip =
  status.state === "loaded" ? false : `SKIPPED: ${status.reason}; the hashes are those of the native kernels`;
if (skip) console.error(`frozen: ${skip}`);

const folder = mkdtempSync(join(tmpdir(), "hundredweight-frozen-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "model.gguf");

test("logits of the frozen models are those of the golden file, whichever way they are computed", {
  skip,
}, async (t) => {
  const golden = readFrozen();
  const models = frozenModels();
  assert.deepEqual(
    models.map(({ name }) => name),
    Object.keys(golden.models),
    "other models than were frozen: renew the file",
  );
  const faults: string[] = [];
  let ways = 0;
  for (const model of models) {
    const [hashes, logits] = await freeze(path, model, best);
    const expected = golden.models[model.name]!;
    if (hashes.model !== expected.model) faults.push(`${model.name}: the random model itself is another one`);
    else if (hashes.logits !== expected.logits) faults.push(`${model.name}: its logits have other bits`);
    for (const [index, way] of frozenWays(model.case.seed, best).entries()) {
      const difference = firstDifference(logits, await evaluateWay(path, model.case, way, index));
      if (difference !== undefined) faults.push(`${model.name}, ${way.placement.name}: ${difference}`);
      ways++;
    }
  }
  assert.equal(faults.length, 0, `numeric version ${golden.numericVersion}\n${faults.join("\n")}`);
  t.diagnostic(`${models.length} models, ${ways} ways`);
});

test("pasts on the disk are of the numbers that are frozen", () => {
  assert.equal(numericVersion, readFrozen().numericVersion, "src/ops/numeric-version.ts");
});

test("every tensor type with kernels is frozen", { skip }, () => {
  const frozen = new Set(frozenModels().map(({ case: c }) => c.model.types.ffn));
  const types = dtypes.filter((dtype) => dtype.acts !== undefined).map(({ name }) => name);
  assert.deepEqual([...frozen].sort(), types.sort());
});
