/** Keys that go to other positions, in models: which models allow it, and what moved keys are. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../src/containers/index.js";
import { stateOptions } from "../src/engine/parts.js";
import { bindDescription, describeModel } from "../src/models/index.js";
import { createOps } from "../src/ops/index.js";
import type { RowTable } from "../src/ops/ops.js";
import { decodeHead, type ReferenceKvPool } from "../src/ops/reference-kv.js";
import { StateCache } from "../src/state/cache.js";
import { randomTokens } from "./support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-shift-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "model.gguf");
const types = { attention: "F16", ffn: "F16", expert: "F16", embedding: "F16", head: "F16" };
const [keep, discard, length] = [20, 256, 330];

async function bound(arch: string, variant: string, kvType: "f16" | "f16+h" = "f16") {
  await writeRandomModel(path, { arch, variant, dims: 64, types, seed: 5 });
  const description = describeModel(await openCheckpoint(path));
  const ops = createOps({ kind: "reference" });
  const options = { contextTokens: 512, maxRows: length, sequences: 1, kvType, maxLogitRows: 1 } as const;
  const model = await bindDescription(description, ops, options);
  const cache = new StateCache({ ...stateOptions(model, ops), sequences: 1, contextTokens: 512, maxRows: length });
  return { model, cache, close: () => ops.close() };
}

type Bound = Awaited<ReturnType<typeof bound>>;

async function evaluate({ model, cache }: Bound, ids: Int32Array): Promise<number> {
  const sequence = cache.openSequence();
  cache.append(sequence, ids.length);
  const rows: RowTable = {
    count: ids.length,
    ids,
    positions: Int32Array.from(ids, (_, i) => i),
    sequences: new Int32Array(ids.length),
    blockTables: cache.blockTables.map((tables) => [tables[sequence]!]),
    tokens: [ids],
  };
  await model.forward(rows, new Int32Array(0), () => {});
  return sequence;
}

/** Keys of a layer of the first group [position][head][headDimK], and the bytes of its values. */
function stored({ model, cache }: Bound, sequence: number, layer: number) {
  const pool = model.kvGroups[0]!.pool as ReferenceKvPool;
  const { kvHeads, headDimK, keys, keyBytes, values, valueBytes, latent } = pool.layout[layer]!;
  const [turned, plain]: [Float32Array[], Uint8Array[]] = [[], []];
  for (let position = 0; position < cache.length(sequence); position++) {
    const page = pool.page(cache.blockTables[0]![sequence]![position >> 8]!);
    for (let head = 0; head < kvHeads; head++) {
      const row = head * 256 + (position & 255);
      const key = new Float32Array(headDimK);
      decodeHead(pool.keyType, page, keys + row * keyBytes, headDimK, key);
      turned.push(key);
      if (!latent) plain.push(new Uint8Array(page.buffer, values + row * valueBytes, valueBytes).slice());
    }
  }
  return { keys: turned, values: plain };
}

/** The largest difference of two keys, of the largest number of the head. */
function farthest(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  let most = 0;
  for (const [i, key] of a.entries()) {
    const size = Math.max(...key.map(Math.abs));
    for (const [d, value] of key.entries()) most = Math.max(most, Math.abs(value - b[i]![d]!) / size);
  }
  return most;
}

for (const [arch, variant] of [
  ["llama", "dense"],
  ["phi3", "long"],
  ["deepseek2", "v3"],
] as const)
  test(`${arch} ${variant}: keys of the first layer are those of an evaluation there`, async () => {
    const ids = Int32Array.from(randomTokens(length, randomModelVocab, 3));
    const left = Int32Array.from([...ids.subarray(0, keep), ...ids.subarray(keep + discard)]);
    const shifted = await bound(arch, variant);
    const sequence = await evaluate(shifted, ids);
    const before = stored(shifted, sequence, 0);
    shifted.cache.leaveOut(sequence, keep, discard);
    assert.equal(shifted.cache.length(sequence), left.length);
    const fresh = await bound(arch, variant);
    const other = await evaluate(fresh, left);
    const [found, expected] = [stored(shifted, sequence, 0), stored(fresh, other, 0)];
    // Twice a rounding to 11 bits.
    assert.ok(farthest(expected.keys, found.keys) < 2 ** -10, `${farthest(expected.keys, found.keys)}`);
    assert.ok(farthest(expected.keys, before.keys.slice(0, expected.keys.length)) > 0.1, "nothing moved");
    assert.deepEqual(found.values, expected.values);
    // What is above has seen the tokens that are gone: that is what a shift is.
    const above = [stored(fresh, other, 1), stored(shifted, sequence, 1)] as const;
    assert.ok(farthest(above[0].keys, above[1].keys) > 2 ** -8);
    for (const one of [shifted, fresh]) one.close();
  });

test("models whose keys cannot move say why", async () => {
  const reasons = {
    "qwen35 dense": /recurrent/,
    "mamba2 mamba": /recurrent/,
    "gpt2 dense": /learned/,
    "deepseek32 moe": /indexer/,
    "gemma3n dense": /embeddings for every layer/,
    "hunyuan-dense dense": /changed after their rotation/,
    "deepseek4 flash": /recurrent|several positions/,
  };
  for (const [name, reason] of Object.entries(reasons)) {
    const [arch, variant] = name.split(" ") as [string, string];
    const { model, close } = await bound(arch, variant);
    assert.match(model.turns.fault ?? "", reason, name);
    close();
  }
  const mixed = await bound("llama", "dense", "f16+h");
  assert.match(mixed.model.turns.fault ?? "", /Hadamard/);
  assert.throws(() => mixed.cache.leaveOut(mixed.cache.openSequence(), 0, 256), { code: "INTERNAL" });
  mixed.close();
});
