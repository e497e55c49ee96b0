/**
 * The bundled demonstration model, rewritten in every tensor type, against llama.cpp on 512 tokens of a real text
 * (test/golden/ruth.txt: Ruth 1-2, King James Version, public domain): the same file in both engines, and each type
 * against the model's own F32. `npm test` takes every fourth type.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { dtypes } from "../../src/formats/dtypes.js";
import { createOps } from "../../src/ops/index.js";
import { packageRoot } from "../../src/package-root.js";
import { evaluate, klOfLogs as kl, logSoftmax, openModel } from "../support/evaluate.js";
import { openPeer, type Peer } from "../support/peer.js";
import { rewriteModel } from "../support/requantize.js";
import { sweep } from "../support/sweeps.js";

const demo = join(packageRoot(), "models/demo.gguf");
const peer = openPeer();
const skip = peer === undefined ? "SKIPPED: run scripts/fetch-peer.mjs for llama.cpp" : false;

describe("the demonstration model in every type against llama.cpp", { skip }, () => {
  const llama = peer as Peer;
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-"));
  let ids: number[] = [];
  let exact: Float64Array[] = [];
  after(() => {
    llama.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function ours(path: string): Promise<Float64Array[]> {
    const model = await openModel(path, createOps());
    try {
      return (await evaluate(model, ids)).map(logSoftmax);
    } finally {
      model.close();
    }
  }

  async function theirs(path: string, flashAttention: boolean): Promise<Float64Array[]> {
    await llama.load({ path, contextTokens: 1024, flashAttention });
    return llama.logProbabilities(ids, join(folder, "probabilities.bin"));
  }

  const types = dtypes.filter((d) => d.acts !== undefined).map((d) => d.name);
  const others = types.filter((t) => t !== "F32");
  for (const type of ["F32", ...sweep(others, 8)]) {
    test(type, async () => {
      const path = join(folder, "model.gguf");
      await rewriteModel(demo, path, type);
      if (ids.length === 0) {
        const text = readFileSync(join(packageRoot(), "test/golden/ruth.txt"), "utf8");
        await llama.load({ path, vocabOnly: true });
        ids = (await llama.ask<{ ids: number[] }>("tokenize", { text })).ids.slice(0, 512);
        assert.equal(ids.length, 512);
      }
      const q = await ours(path);
      if (type === "F32") exact = q;
      const [flash, plain] = [await theirs(path, true), await theirs(path, false)];
      const toTheirs = Math.min(kl(flash, q), kl(plain, q));
      const toThemselves = kl(flash, plain);
      const loss = kl(exact, q);
      console.log(
        `  ${type.padEnd(7)} KL to llama.cpp ${toTheirs.toExponential(1)} (its two attention paths ` +
          `${toThemselves.toExponential(1)}), to our F32 ${loss.toExponential(1)}, llama.cpp's to our F32 ` +
          `${kl(exact, flash).toExponential(1)}`,
      );
      assert.ok(toTheirs < (type === "F32" || type === "F16" || type === "BF16" ? 1e-5 : 1e-3));
    });
  }
});
