/**
 * Random tiny models of every architecture against llama.cpp, which keeps an F16 cache and rounds activations to F16
 * for F16 weights; and the proof that these models would notice a missing mechanism. F16 files of all families:
 * `npm run test:sweeps`; of all variants, and greedy answers: scripts/write-models-page.mjs.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { decoders } from "../../src/models/index.js";
import { meanEntropy } from "../support/evaluate.js";
import { openPeer, type Peer } from "../support/peer.js";
import { firstArchitectures } from "../support/random-model.js";
import { wholeSweeps } from "../support/sweeps.js";
import { askPeer, distance, logitsOf, makeCase, missed, type TinyCase } from "./models/compare.js";

describe("tiny models", () => {
  let folder = "";
  let peer: Peer | undefined;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-models-"));
    peer = openPeer();
  });
  after(() => {
    peer?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const made = new Map<string, Promise<TinyCase>>();
  function tiny(arch: string, variant: string, dtype = "F32"): Promise<TinyCase> {
    const key = [arch, variant, dtype].join();
    const known = made.get(key) ?? makeCase(folder, arch, variant, dtype);
    made.set(key, known);
    return known;
  }

  for (const { name, tiny: variants, mechanisms } of decoders)
    for (const [v, { variant, lacks = [] }] of variants.entries()) {
      if (variant === "reranker") continue;
      test(`${name} ${variant}: far from uniform, and every mechanism matters`, async (t) => {
        const made = await tiny(name, variant);
        const entropy = meanEntropy(made.logits);
        assert.ok(entropy < 0.6 * Math.log(made.vocab), `entropy ${entropy}`);
        const chosen = mechanisms.filter((m) => !lacks.includes(m));
        assert.ok(chosen.length > 0);
        const few: string[] = [];
        for (const mechanism of chosen) {
          const kl = await missed(made, mechanism);
          t.diagnostic(`without ${mechanism}: KL ${kl.toExponential(2)}`);
          if (!(kl > 1e-2)) few.push(`without ${mechanism} KL is only ${kl}`);
        }
        assert.equal(few.length, 0, few.join("; "));
      });

      for (const dtype of v === 0 && (wholeSweeps || firstArchitectures.includes(name)) ? ["F32", "F16"] : ["F32"])
        test(`${name} ${variant} ${dtype}: KL to llama.cpp below 1e-5`, async (t) => {
          if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
          const made = await tiny(name, variant, dtype);
          const { theirs } = await askPeer(peer, made, folder);
          for (const [kind, logits] of [
            ["reference", made.logits],
            ["best", await logitsOf(made, made.ids)],
          ] as const) {
            const { kl, greatest } = distance(made, theirs, logits);
            t.diagnostic(`${kind}: KL ${kl.toExponential(2)}, greatest difference ${greatest.toExponential(2)}`);
            assert.ok(kl >= -1e-9 && kl < 1e-5, `${kind}: KL ${kl}`);
          }
        });

      test(`${name} ${variant}: any chunking gives the same bits`, async () => {
        const made = await tiny(name, variant);
        const whole = await logitsOf(made, made.ids);
        assert.equal(whole.length, made.ids.length);
        for (const chunk of [1, 7]) assert.deepEqual(await logitsOf(made, made.ids, { maxLogitRows: 5 }, chunk), whole);
      });
    }
});
