/**
 * Small variants of every synth preset: llama.cpp loads them and both compute the same distribution, plain and in the
 * mix the preset is usually met in; and a skewed router skews what is chosen.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Mix } from "../../src/compress/mix.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops, RouteSpec, Routing, Tensor } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { presets } from "../../src/synth/presets.js";
import { type Overrides, type SynthShape, withOverrides } from "../../src/synth/shape.js";
import { layOutSynth, writeSynth } from "../../src/synth/synth.js";
import { evaluate, meanEntropy, meanKl, openModel, randomTokens } from "../support/evaluate.js";
import { openPeer, type Peer } from "../support/peer.js";

const promptTokens = 32;
const vocab = 400;

/** Numbers that only one family has, or that have to fit its own. */
const families: Readonly<Record<string, Overrides>> = {
  // Windowed and full layers both: llama.cpp expects some of each.
  llama4: { layers: 4 },
  // All experts are chosen: where two are as good as each other, its steep router would show any rounding.
  gemma4: {
    layers: 6,
    "top-k": 16,
    "attention.key_length_swa": 32,
    "attention.value_length_swa": 32,
    "rope.dimension_count_swa": 32,
  },
};

const net = { "ssm.state_size": 32, "ssm.group_count": 2, "ssm.time_step_rank": 4, "ssm.inner_size": 128 };
const hybrids: Readonly<Record<string, Overrides>> = {
  qwen35: { layers: 4, ...net },
  // All experts are chosen, as with Gemma 4.
  qwen35moe: { layers: 4, "top-k": 16, expert_shared_feed_forward_length: 256, ...net },
  // One block of each kind at least.
  nemotron_h_moe: {
    layers: 8,
    "top-k": 16,
    expert_shared_feed_forward_length: 256,
    moe_latent_size: 128,
    ...net,
    "ssm.time_step_rank": 8,
    "ssm.inner_size": 256,
  },
};

/** Thin, but with everything its architecture adds. */
function small(shape: SynthShape, over: Overrides = {}): SynthShape {
  return withOverrides(shape, {
    layers: 3,
    dim: 256,
    heads: 8,
    ...(typeof shape.metadata["attention.head_count_kv"] === "number" && { "kv-heads": 2 }),
    "head-dim": 32, // llama.cpp wants heads * headDim = dim of some architectures
    ...(typeof shape.metadata.feed_forward_length === "number" && { hidden: shape.arch === "minimax-m2" ? 256 : 512 }),
    ...(shape.metadata.expert_count !== undefined && {
      experts: 16,
      "top-k": 4,
      "expert-hidden": 256,
    }),
    vocab,
    context: 4096,
    ...families[shape.arch],
    ...hybrids[shape.arch],
    ...over,
  });
}

/** Multipliers of hashes are numbers of 64 bits. */
const textOf = (shape: SynthShape): string =>
  JSON.stringify(shape, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));

/** Widths that no override makes small, those of latent attention and of tables of n-grams, are the tiny models'. */
const leftToTinyModels = new Set(["deepseek2", "deepseek4", "bailingmoe3", "qwen4exp"]);

/** Presets that are still different when they are small. */
const different = [
  ...new Map(
    Object.entries(presets)
      .filter(([, { arch }]) => !leftToTinyModels.has(arch))
      .map((entry) => [textOf(small(entry[1])), entry]),
  ).values(),
];

describe("synth", () => {
  let folder = "";
  let peer: Peer | undefined;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-synth-"));
    peer = openPeer();
  });
  after(() => {
    peer?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const ids = randomTokens(promptTokens, vocab);

  async function write(name: string, quant: Mix, routerSkew = 0, over: Overrides = {}): Promise<string> {
    const path = join(folder, `${name}-${quant}-${routerSkew}.gguf`);
    await writeSynth(path, layOutSynth(name, small(presets[name]!, over), quant), { routerSkew });
    return path;
  }

  async function peerLogits(path: string): Promise<Float32Array[]> {
    const out = join(folder, "peer.f32");
    await peer!.load({ path, threads: 1, contextTokens: 256, batch: 256, flashAttention: false });
    await peer!.ask("logits", { ids, from: 0, out });
    await peer!.ask("unload");
    const bytes = readFileSync(out);
    assert.equal(bytes.length, promptTokens * vocab * 4);
    // Probabilities; what underflowed to zero weighs nothing in the KL.
    return ids.map((_, row) =>
      Float32Array.from({ length: vocab }, (_, i) =>
        Math.log(Math.max(bytes.readFloatLE((row * vocab + i) * 4), 1e-38)),
      ),
    );
  }

  for (const [name, { quant }] of different) {
    test(`${name} F16: finite, not uniform, KL to llama.cpp below 1e-5`, async (t) => {
      const path = await write(name, "F16");
      const model = await openModel(path, new ReferenceOps());
      const logits = await evaluate(model, ids);
      model.close();
      for (const row of logits) assert.ok(row.every((v) => Number.isFinite(v) && Math.abs(v) < 1000));
      assert.ok(meanEntropy(logits) < 0.8 * Math.log(vocab), `entropy ${meanEntropy(logits)}`);
      if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
      const kl = meanKl(await peerLogits(path), logits);
      t.diagnostic(`KL ${kl.toExponential(2)}`);
      assert.ok(kl >= -1e-9 && kl < 1e-5, `KL ${kl}`);
    });

    test(`${name} ${quant}: as close to llama.cpp as rounded activations are to exact ones`, async (t) => {
      if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
      if (addonStatus().state !== "loaded") return t.skip("the native addon is not built");
      const path = await write(name, quant);
      const logits = async (ops: Ops) => {
        const model = await openModel(path, ops);
        const rows = await evaluate(model, ids);
        model.close();
        return rows;
      };
      const exact = await logits(new ReferenceOps());
      const ours = await logits(createOps({ kind: "native", threads: 1 }));
      const rounding = meanKl(exact, ours);
      const kl = meanKl(await peerLogits(path), ours);
      t.diagnostic(`KL ${kl.toExponential(2)}, of rounding alone ${rounding.toExponential(2)}`);
      // Both round activations to 8 bits, not always in the same groups: at worst the errors are opposite, twice as
      // far apart, and KL grows with the square of the distance.
      assert.ok(kl >= -1e-9 && kl < 4 * rounding, `KL ${kl}, of rounding alone ${rounding}`);
      // Logits of deviation 3 and activations rounded to within 1 / 254 of their largest: a bug shows as 0.1 or more.
      assert.ok(rounding < 3e-2, `rounding ${rounding}`);
    });
  }

  /** How often each expert of each layer was chosen. */
  class Popularity extends ReferenceOps {
    readonly layers = new Map<number, Float64Array>();
    #calls = 0;
    override route(out: Routing, logits: Tensor, n: number, spec: RouteSpec): number {
      const fault = super.route(out, logits, n, spec);
      const layer = this.#calls++ % 3;
      const counts = this.layers.get(layer) ?? new Float64Array(logits.cols);
      this.layers.set(layer, counts);
      for (const id of this.readRouting(out, n).ids) counts[id]! += 1;
      return fault;
    }
    /** Share of the choices that fall on a quarter of the experts, mean over layers. */
    topQuarter(): number {
      const shares = [...this.layers.values()].map((counts) => {
        const sorted = [...counts].sort((a, b) => b - a);
        const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
        return sum(sorted.slice(0, counts.length / 4)) / sum(sorted);
      });
      return shares.reduce((a, b) => a + b, 0) / shares.length;
    }
  }

  for (const name of ["qwen3-30b-a3b", "gpt-oss-20b"])
    test(`${name}: a skewed router prefers some experts`, async (t) => {
      const shares: number[] = [];
      for (const skew of [0, 1]) {
        const ops = new Popularity();
        const path = await write(name, "F16", skew, { experts: 32, "expert-hidden": 64, hidden: 64 });
        const model = await openModel(path, ops);
        await evaluate(model, randomTokens(200, vocab));
        model.close();
        shares.push(ops.topQuarter());
      }
      t.diagnostic(`top quarter of the experts: ${shares.map((s) => s.toFixed(2)).join(" flat, ")} skewed`);
      // Of 4 choices among 32 a quarter of the experts has 0.25 when all are alike, 0.57 by 1 / rank; biases make some
      // of them common to all tokens, and the most popular quarter is picked afterwards.
      assert.ok(shares[0]! < 0.45 && shares[1]! > shares[0]! + 0.1, `${shares}`);
    });
});
