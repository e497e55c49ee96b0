/**
 * Folders of Hugging Face, each saved from a tiny random model of transformers, run in place: the logits are those of
 * transformers. What remains is the cache's: it holds F16.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { bestOps } from "../differential/models/compare.js";
import { evaluate, meanKl, openModel } from "../support/evaluate.js";
import { expectedRows, fixtureNames, readFixture, writeFolder } from "./folder.js";

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
        const rows = await evaluate(model, fixture.ids);
        const distance = (which: "values" | "rounded") => {
          const expected = expectedRows(fixture, which);
          return meanKl(expected, rows.slice(-expected.length));
        };
        const [kl, rounded] = [distance("values"), distance("rounded")];
        t.diagnostic(`KL ${kl.toExponential(2)}, beside a cache of F16 ${rounded.toExponential(2)}`);
        assert.ok(kl >= -1e-9 && kl < 1e-6, `KL ${kl}`);
        assert.ok(rounded >= -1e-9 && rounded < mostRounded, `KL ${rounded}`);
        assert.deepEqual(model.unusedTensors, []);
      } finally {
        model.close();
      }
    });
  }
});
