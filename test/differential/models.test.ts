/**
 * Random tiny models of every architecture against llama.cpp, which keeps an F16 cache and rounds activations to F16 for
 * F16 weights; and the proof that these models would notice a missing mechanism.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ablations, type BoundModel, decoders } from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops, RouteSpec, Routing, Tensor } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { evaluate, meanEntropy, meanKl, openModel, randomTokens } from "../support/evaluate.js";
import { openPeer, type Peer } from "../support/peer.js";

/** Longer than four windows of 16, and than two passes of 32. */
const promptTokens = 72;
const seeds = [1, 2, 3, 4, 5, 6];

/**
 * Smallest distance between the last chosen and the first refused expert. Choosing is the one discontinuity of the
 * forward pass: at a near tie any two correct engines may differ by a whole expert.
 */
class RoutingMargin extends ReferenceOps {
  margin = Infinity;
  override route(out: Routing, logits: Tensor, n: number, spec: RouteSpec): number {
    const values = this.read(logits, n);
    for (let t = 0; t < n; t++) {
      const sorted = values.slice(t * logits.cols, (t + 1) * logits.cols).sort((a, b) => b - a);
      this.margin = Math.min(this.margin, sorted[spec.topK - 1]! - sorted[spec.topK]!);
    }
    return super.route(out, logits, n, spec);
  }
}

/** The reference always, the addon when there is one. */
const implementations: (() => Ops)[] = [() => new ReferenceOps()];
if (addonStatus().state === "loaded") implementations.push(() => createOps({ kind: "native", threads: 2 }));

async function logitsOf(
  path: string,
  ids: number[],
  options: Parameters<typeof openModel>[2] = {},
  ops: Ops = new ReferenceOps(),
) {
  const model = await openModel(path, ops, options);
  try {
    return { logits: await evaluate(model, ids), config: model.config };
  } finally {
    model.close();
  }
}

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

  const made = new Map<string, ReturnType<typeof make>>();
  function clearest(arch: string, variant: string, dtype: string): ReturnType<typeof make> {
    const key = [arch, variant, dtype].join();
    const known = made.get(key) ?? make(arch, variant, dtype);
    made.set(key, known);
    return known;
  }

  /** The seed whose routing is clearest (any, for a dense model), its file and prompt. */
  async function make(arch: string, variant: string, dtype: string) {
    const path = join(folder, `${arch}-${variant}-${dtype}.gguf`);
    let best = { seed: 1, margin: -1 };
    for (const seed of seeds) {
      const { vocab } = await makeTinyModel(path, arch, { variant, dtype, seed });
      const ops = new RoutingMargin();
      const model: BoundModel = await openModel(path, ops);
      await evaluate(model, randomTokens(promptTokens, vocab));
      model.close();
      if (ops.margin > best.margin) best = { seed, margin: ops.margin };
      if (ops.margin === Infinity) break;
    }
    const { vocab } = await makeTinyModel(path, arch, { variant, dtype, seed: best.seed });
    return { path, vocab, ids: randomTokens(promptTokens, vocab) };
  }

  for (const architecture of decoders)
    for (const { variant } of architecture.tiny) {
      if (variant === "reranker") continue;
      const { name } = architecture;
      test(`${name} ${variant}: far from uniform, and every mechanism matters`, async () => {
        const { path, vocab, ids } = await clearest(name, variant, "F32");
        const { logits, config } = await logitsOf(path, ids);
        assert.ok(meanEntropy(logits) < 0.6 * Math.log(vocab), `entropy ${meanEntropy(logits)}`);
        assert.ok(config.window === 0 || promptTokens > 2 * config.window);
        const chosen = architecture.mechanisms.filter((m) => m !== "router-norm" || config.experts > 0);
        assert.ok(chosen.length > 0);
        for (const mutate of chosen) {
          const changed = await logitsOf(path, ids, { ablate: ablations[mutate] });
          const kl = meanKl(logits, changed.logits);
          assert.ok(kl > 1e-2, `without ${mutate} KL is only ${kl}`);
        }
      });

      for (const dtype of ["F32", "F16"])
        test(`${name} ${variant} ${dtype}: KL to llama.cpp below 1e-5`, async (t) => {
          if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
          const { path, vocab, ids } = await clearest(name, variant, dtype);
          const out = join(folder, "peer.f32");
          await peer.load({ path, threads: 1, contextTokens: 256, batch: 256, flashAttention: false });
          await peer.ask("logits", { ids, from: 0, out });
          await peer.ask("unload");
          const bytes = readFileSync(out);
          assert.equal(bytes.length, promptTokens * vocab * 4);
          const theirs = Array.from({ length: promptTokens }, (_, row) =>
            // Probabilities; what underflowed to zero weighs nothing in the KL.
            Float32Array.from({ length: vocab }, (_, i) =>
              Math.log(Math.max(bytes.readFloatLE((row * vocab + i) * 4), 1e-38)),
            ),
          );
          for (const makeOps of implementations) {
            const ops = makeOps();
            const { logits } = await logitsOf(path, ids, {}, ops);
            const kl = meanKl(theirs, logits);
            t.diagnostic(`${ops.name}: KL ${kl.toExponential(2)}`);
            assert.ok(kl >= -1e-9 && kl < 1e-5, `${ops.name}: KL ${kl}`);
          }
        });

      test(`${name} ${variant}: any chunking gives the same bits`, async () => {
        const { path, ids } = await clearest(name, variant, "F32");
        const { logits } = await logitsOf(path, ids);
        for (const chunk of [1, 7, 17, 64]) {
          const model = await openModel(path, new ReferenceOps(), { maxLogitRows: 5 });
          assert.deepEqual(await evaluate(model, ids, chunk), logits);
          model.close();
        }
      });
    }
});
