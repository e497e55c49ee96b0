/**
 * Random tiny encoders and rerankers of every variant against llama.cpp: vectors of 20 texts point the same way,
 * scores are the same; and the proof that they would notice a missing mechanism.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { probabilities } from "../../src/engine/embed.js";
import { EngineClient } from "../../src/link/client.js";
import type { TinyMetadata } from "../../src/models/flow/architecture.js";
import { ablations, encoders } from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { openModel, randomTokens } from "../support/evaluate.js";
import { openPeer, type Peer } from "../support/peer.js";
import { wholeSweeps } from "../support/sweeps.js";
import { cosine, textOutputs } from "../support/vectors.js";

const native = addonStatus().state === "loaded";
/** The reference is slow: one type is enough to hold it. */
const implementations = (dtype: string): ("native" | "reference")[] =>
  native ? (dtype === "F32" ? ["native", "reference"] : ["native"]) : ["reference"];

const vocab = 300;
/** From one token to more than a page, and than several windows of 16. */
const lengths = [1, 2, 3, 5, 8, 13, 16, 17, 21, 30, 33, 34, 47, 55, 64, 72, 89, 120, 144, 270];
const texts = lengths.map((length, i) => randomTokens(length, vocab, i + 1));
/** Beside the addon an ordinary run gives the reference those that are short: several windows, not a page. */
const textsOf = (ops: "native" | "reference"): readonly number[][] =>
  ops === "native" || !native || wholeSweeps ? texts : texts.slice(0, lengths.indexOf(55));

interface Subject {
  readonly arch: string;
  readonly variant: string;
  readonly overrides?: TinyMetadata;
  readonly note?: string;
}
const subjects: Subject[] = [
  ...encoders.flatMap(({ name, tiny }) => tiny.map(({ variant }) => ({ arch: name, variant }))),
  { arch: "qwen3", variant: "reranker" },
  { arch: "qwen3", variant: "dense", overrides: { pooling_type: 3 }, note: "pooled by its last token" },
  { arch: "llama", variant: "dense", overrides: { pooling_type: 1 }, note: "pooled by its mean" },
  { arch: "bert", variant: "mean", overrides: { pooling_type: 3 }, note: "pooled by its last token" },
];

/** The largest distance of two scores of a text. */
const furthest = (a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number =>
  Math.max(...a.flatMap((scores, i) => Array.from(scores, (score, label) => Math.abs(score - b[i]![label]!))));

/** Scores of all texts in float32, keys and values included. */
async function exactScores(path: string): Promise<Float32Array[]> {
  const model = await openModel(path, new ReferenceOps({ kept: "f32" }));
  const scores: Float32Array[] = [];
  for (const text of texts) {
    const [row] = (await textOutputs(model, [text])).texts;
    scores.push(model.config.vectors?.softmax ? probabilities(row!) : row!);
  }
  model.close();
  return scores;
}

describe("encoders and rerankers", () => {
  let folder = "";
  let peer: Peer | undefined;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-encoders-"));
    peer = openPeer();
  });
  after(() => {
    peer?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function made({ arch, variant, overrides = {} }: Subject, dtype: string): Promise<string> {
    const path = join(folder, `${arch}-${variant}-${dtype}.gguf`);
    await makeTinyModel(path, arch, { variant, dtype, overrides });
    return path;
  }

  async function ours(path: string, ops: "native" | "reference"): Promise<Float32Array[]> {
    const client = await EngineClient.open(path, { ops, threads: 2, contextTokens: 512, sequences: 4 });
    try {
      const ranks = client.info.vectors?.pooling === "rank";
      const one = async (ids: readonly number[]): Promise<Float32Array> => {
        const prompt = { kind: "tokens", tokens: Int32Array.from(ids) } as const;
        if (ranks) return (await client.submit({ kind: "rank", prompt }).result).scores;
        return (await client.submit({ kind: "embed", prompt }).result).embedding;
      };
      return await Promise.all(textsOf(ops).map(one));
    } finally {
      await client.close();
    }
  }

  for (const subject of subjects)
    for (const dtype of ["F32", "F16"]) {
      const { arch, variant, note } = subject;
      const title = `${arch} ${variant}${note === undefined ? "" : `, ${note}`}, ${dtype}`;
      test(`${title}: as llama.cpp`, async (t) => {
        if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
        const path = await made(subject, dtype);
        const command = variant === "reranker" ? "rank" : "embedAll";
        const { vectors } = await peer.ask<{ vectors: number[][] }>(command, { path, texts });
        for (const ops of implementations(dtype)) {
          const found = await ours(path, ops);
          if (command === "rank") {
            const spread = Math.max(...vectors.map(([s]) => s!)) - Math.min(...vectors.map(([s]) => s!));
            const far = furthest(found, vectors);
            t.diagnostic(`${ops}: scores off by at most ${far.toExponential(2)}, spread ${spread.toFixed(3)}`);
            assert.ok(spread > 0.05, "they tell texts apart");
            // llama.cpp rounds activations to F16 for F16 weights, and what attention reads and sums to F16 always.
            const bound = (dtype === "F32" ? 1e-3 : 2e-3) * Math.max(1, spread);
            assert.ok(far < bound, `scores off by ${far}`);
            continue;
          }
          const least = Math.min(...found.map((vector, i) => cosine(vector, vectors[i]!)));
          const apart = Math.max(...found.slice(1).map((vector, i) => cosine(vector, found[i]!)));
          t.diagnostic(
            `${ops}: cosine at least 1 - ${(1 - least).toExponential(2)}; of two texts at most ${apart.toFixed(3)}`,
          );
          assert.ok(least > 0.9999, `cosine ${least}`);
          assert.ok(1 - apart > 100 * (1 - least), "they tell texts apart");
        }
      });
    }

  for (const { arch, variant } of subjects.filter((subject) => subject.variant === "reranker"))
    test(`${arch} reranker: without rounded keys and values its scores are llama.cpp's within 1e-3`, async (t) => {
      if (peer === undefined) return t.skip("llama.cpp is not installed: run scripts/fetch-peer.mjs");
      const path = await made({ arch, variant }, "F32");
      const exact = await exactScores(path);
      const ask = async (flashAttention: boolean) =>
        (await peer!.ask<{ vectors: number[][] }>("rank", { path, texts, flashAttention })).vectors;
      const [plain, flash] = [await ask(false), await ask(true)];
      const own = await ours(path, native ? "native" : "reference");
      const shown = (scores: readonly ArrayLike<number>[]) => furthest(exact, scores).toExponential(2);
      t.diagnostic(
        `exact - llama.cpp ${shown(plain)}, with flash attention ${shown(flash)}; exact - ours ${shown(own)}`,
      );
      // Its GELU reads a table of F16 values, and Qwen3's keys and values lie in a cache of F16.
      assert.ok(furthest(exact, plain) < 1e-3);
      // Both round keys and values to F16: neither is further from exact scores than the other by much.
      assert.ok(furthest(exact, own) < Math.max(1e-3, 2 * furthest(exact, flash)));
    });

  for (const { name, tiny, mechanisms } of encoders)
    for (const { variant } of tiny)
      test(`${name} ${variant}: every mechanism matters`, async () => {
        const path = await made({ arch: name, variant }, "F32");
        const outputs = async (ablate?: (typeof ablations)[keyof typeof ablations]) => {
          const ops = native ? createOps({ kind: "native", threads: 2 }) : new ReferenceOps();
          const model = await openModel(path, ops, { sequences: 4, ...(ablate !== undefined && { ablate }) });
          const { rows } = await textOutputs(model, [texts[10]!, texts[15]!]);
          model.close();
          return rows;
        };
        const whole = await outputs();
        for (const mechanism of mechanisms) {
          const near = cosine(whole, await outputs(ablations[mechanism]));
          // Without it the comparison with llama.cpp, which finds 1 - 3e-6, would fail.
          assert.ok(near < 0.9999, `without ${mechanism} the cosine is still ${near}`);
        }
      });
});
