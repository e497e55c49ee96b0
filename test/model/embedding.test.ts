/**
 * Embeddings. Of a real model against llama.cpp, which takes the hidden state of the last token where a file names no
 * pooling; with its weights as F32, so that no rounding of activations to 8 bits stands between the two. Of a tiny
 * model against the plain TypeScript operations, both poolings.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { EngineClient } from "../../src/link/client.js";
import type { EngineOptions } from "../../src/link/protocol.js";
import { addonStatus } from "../../src/native/addon.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { fetchedModel, openPeer } from "../support/peer.js";
import { rewriteModel } from "../support/requantize.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-embedding-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function embed(path: string, ids: readonly number[], pooling: "mean" | "last", options: EngineOptions = {}) {
  const client = await EngineClient.open(path, { contextTokens: 512, ...options });
  try {
    const prompt = { kind: "tokens", tokens: Int32Array.from(ids) } as const;
    const { embedding } = await client.submit({ kind: "embed", prompt, pooling }).result;
    assert.equal(embedding.length, client.info.dim);
    return embedding;
  } finally {
    await client.close();
  }
}

/** The distance of two vectors of length 1. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum);
}

const file = "SmolLM2-135M-Instruct.Q4_1.gguf";
const model = fetchedModel(file);
const peer = model === undefined ? undefined : openPeer();

test("SmolLM2 against llama.cpp", {
  skip: peer === undefined ? `SKIPPED: run scripts/fetch-peer.mjs for ${file} and llama.cpp` : false,
}, async (t) => {
  const expanded = join(folder, "f32.gguf");
  await rewriteModel(model as string, expanded, "F32");
  try {
    for (const ids of [[5345, 314, 260, 2345], Array.from({ length: 40 }, (_, i) => 300 + 17 * i)]) {
      const theirs = await peer!.ask<{ vector: number[]; tokens: number }>("embed", { path: expanded, ids });
      assert.equal(theirs.tokens, ids.length);
      const norm = Math.hypot(...theirs.vector);
      const ours = await embed(expanded, ids, "last");
      const found = distance(
        ours,
        theirs.vector.map((v) => v / norm),
      );
      t.diagnostic(`${ids.length} tokens: distance ${found.toExponential(2)}`);
      // 30 layers of two branches, each off by some 1e-6 of its own length: sums of 576 to 1536 f32 products (2^-24
      // times the root of their number), half precision keys and values on both sides (2^-11, averaged over heads).
      assert.ok(found < 2e-3);
      // The measure tells texts apart.
      const other = await embed(expanded, [...ids.slice(0, -1), ids.at(-1)! + 1], "last");
      assert.ok(distance(ours, other) > 20 * found);
    }
  } finally {
    peer!.close();
  }
});

const native = addonStatus();
test("a tiny model against the plain operations", {
  skip: native.state === "loaded" ? false : `SKIPPED: ${native.reason}`,
}, async () => {
  const path = join(folder, "tiny.gguf");
  await makeTinyModel(path, "llama", {});
  const ids = Array.from({ length: 30 }, (_, i) => (i * 7) % 200);
  for (const pooling of ["mean", "last"] as const) {
    const fast = await embed(path, ids, pooling);
    const plain = await embed(path, ids, pooling, { ops: "reference" });
    // Keys and values in half precision: 2^-11 of each, and the same rounding on both sides but for ties.
    assert.ok(distance(fast, plain) < 2 ** -11, `${pooling}: ${distance(fast, plain)}`);
  }
});
