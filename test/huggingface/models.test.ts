/**
 * Folders of Hugging Face, each saved from a tiny random model of transformers, run in place: the logits are those of
 * transformers. What remains is the cache's: it holds F16.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BoundModel } from "../../src/models/index.js";
import { bestOps } from "../differential/models/compare.js";
import { evaluate, meanKl, openModel } from "../support/evaluate.js";
import { expectedRows, fixtureNames, readFixture, writeFolder } from "./folder.js";

/** The last hidden states of an encoder. @shape [ids][dim] */
async function hiddenRows(model: BoundModel, ids: readonly number[]): Promise<Float32Array[]> {
  const { dim } = model.config;
  const all = Int32Array.from(ids);
  const rows = {
    count: all.length,
    ids: all,
    positions: all.map((_, i) => i),
    sequences: new Int32Array(all.length),
    blockTables: model.kvGroups.map(() => [Int32Array.of(0)]),
    tokens: [all],
    slots: Int32Array.of(-1, 0, -1),
  };
  const out: Float32Array[] = [];
  const onHidden = (hidden: Float32Array, first: number) => {
    for (let i = 0; i < hidden.length / dim; i++) out[first + i] = hidden.slice(i * dim, (i + 1) * dim);
  };
  await model.forward(rows, new Int32Array(0), () => {}, { wanted: all.map((_, i) => i), onHidden });
  return out;
}

/** Mean square of the differences, as a share of that of the values: below 1e-6 is a thousandth of each. */
function meanSquare(expected: readonly Float32Array[], found: readonly Float32Array[]): number {
  let [difference, size] = [0, 0];
  for (const [i, row] of expected.entries())
    for (const [j, value] of row.entries()) {
      difference += (value - found[i]![j]!) ** 2;
      size += value ** 2;
    }
  return difference / size;
}

/** A value near the middle of two of F16 may round the other way there; most are far below. */
const mostRounded = 1e-8;

describe("folders of transformers", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-huggingface-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const name of fixtureNames()) {
    const fixture = readFixture(name);
    test(`${name}: KL to transformers below 1e-6`, async (t) => {
      const path = writeFolder(join(folder, name), fixture);
      const model = await openModel(path, bestOps());
      try {
        const rows = await (fixture.kind === "logits" ? evaluate : hiddenRows)(model, fixture.ids);
        const distance = (which: "values" | "rounded") => {
          const expected = expectedRows(fixture, which);
          const found = rows.slice(-expected.length);
          return fixture.kind === "logits" ? meanKl(expected, found) : meanSquare(expected, found);
        };
        const [kl, rounded] = [distance("values"), distance("rounded")];
        // Encoders have no cache in transformers; what is compared then is the hidden state.
        t.diagnostic(`KL ${kl.toExponential(2)}, beside a cache of F16 ${rounded.toExponential(2)}`);
        assert.ok(kl >= -1e-9 && kl < 1e-6, `KL ${kl}`);
        if (fixture.kind === "logits") assert.ok(rounded >= -1e-9 && rounded < mostRounded, `KL ${rounded}`);
        // A model of vectors does without the layer that was trained to tell sentences apart.
        assert.deepEqual(
          model.unusedTensors.filter((tensor) => !tensor.startsWith("pooler.")),
          [],
        );
      } finally {
        model.close();
      }
    });
  }
});
