/**
 * Every word of the flow that no supported model needs yet is used by a tiny architecture, and holds: both
 * implementations agree, and the native one has the same bits for every instruction set, chunk, batch, thread count and
 * placement.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { bindDescription, describeModel } from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import type { Case, Way } from "../property/cases.js";
import { firstDifference } from "../property/difference.js";
import { evaluateReference, evaluateWay } from "../property/evaluate-way.js";
import { evaluate, meanEntropy, meanKl, randomTokens } from "../support/evaluate.js";
import { placements } from "../support/placements.js";
import { randomModelVocab, writeRandomModel } from "../support/random-model.js";
import { findWords, wordsArchitectures } from "./architectures.js";
import type { WordsArchitecture } from "./tiny.js";

const status = addonStatus();
const isas = status.isas ?? [];
const best = isas.at(-1) ?? "";
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-words-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const names = wordsArchitectures.map(({ declaration }) => declaration.name);

async function write(name: string, dtype: string, dims: 64 | 256 = 64): Promise<string> {
  const path = join(folder, `${name}-${dtype}.gguf`);
  const types = { attention: dtype, ffn: dtype, expert: dtype, embedding: dtype, head: dtype };
  const overrides = dims === 256 ? { feed_forward_length: 256 } : {};
  await writeRandomModel(path, { arch: name, variant: "tiny", dims, types, seed: 3, find: findWords, overrides });
  return path;
}

async function bound(path: string, ops: Ops, maxRows = 128) {
  const options = { contextTokens: 320, maxRows, sequences: 2, kvType: "f16", maxLogitRows: 40 } as const;
  return bindDescription(describeModel(await openCheckpoint(path), findWords), ops, options);
}

for (const { declaration, whole = false } of wordsArchitectures) {
  const { name } = declaration;
  test(`${name}: native and reference agree, and the models have something to say`, { skip }, async (t) => {
    const path = await write(name, "F32");
    const ids = randomTokens(60, randomModelVocab, 7);
    const logits = async (ops: Ops) => {
      const model = await bound(path, ops);
      const rows = await evaluate(model, ids, 60);
      model.close();
      return rows;
    };
    const exact = await logits(new ReferenceOps());
    const native = await logits(createOps({ kind: "native", threads: 2 }));
    const kl = meanKl(exact, native);
    t.diagnostic(`KL ${kl.toExponential(2)}, entropy ${meanEntropy(exact).toFixed(2)}`);
    assert.ok(meanEntropy(exact) < 0.9 * Math.log(randomModelVocab));
    // Rounded keys and sums in single precision; a wrong formula shows as 0.01 and more.
    assert.ok(kl >= -1e-9 && kl < 1e-5, `KL ${kl}`);
  });

  test(`${name}: the same bits whichever way they are computed`, { skip }, async () => {
    const prompts = [61, 23].map((n, s) => Int32Array.from(randomTokens(n, randomModelVocab, 11 + s)));
    const shared = whole ? 0 : 15;
    prompts[1]!.set(prompts[0]!.subarray(0, shared));
    for (const [dtype, dims] of [
      ["Q8_0", 64],
      ["Q4_K", 256],
    ] as const) {
      // Latent spaces of 128 and 64 are no whole block.
      if (dims === 256 && ["words-latent", "words-absorbed"].includes(name)) continue;
      const types = { attention: dtype, ffn: dtype, expert: dtype, embedding: dtype, head: dtype };
      const model = { arch: name, variant: "tiny", dims, types, seed: 5, find: findWords };
      const path = join(folder, "ways.gguf");
      await writeRandomModel(path, model);
      const c: Case = { seed: 4, model, kvType: dims === 64 ? "f16" : "q8_0", prompts, shared, ways: [], whole };
      const expected = await evaluateReference(path, c, best);
      // Plain loops take their time: one type and one way.
      for (const [index, isa] of isas.entries())
        for (const way of waysOf(isa, index, whole).slice(0, isa === "scalar" ? 1 : undefined)) {
          if (isa === "scalar" && dims === 256) continue;
          const difference = firstDifference(expected, await evaluateWay(path, c, way, index));
          assert.equal(difference, undefined, `${dtype}, ${isa}, ${way.placement.name}, chunk ${way.chunk}`);
        }
    }
  });
}

function waysOf(isa: string, index: number, whole: boolean): Way[] {
  const [mapped, packed, , buffered] = placements;
  // Every pass of a streamed model reads all of it, so it is the mapped one that has many small passes.
  return [
    {
      isa,
      threads: 1 + (index % 3),
      chunk: whole ? 600 : 7,
      batched: !whole,
      logitRows: 5,
      placement: index % 2 ? packed! : buffered!,
    },
    // Prompts of odd numbers of tokens end with one row.
    { isa, threads: 2, chunk: whole ? 600 : 2, batched: false, logitRows: 64, placement: mapped! },
  ];
}

test("the table of words: for each a tiny architecture that uses it", async () => {
  // DESIGN, section 8; words of states that are not kept yet (latent, rows) come with their room.
  const table = [
    "output pooled",
    "output rank",
    "scaled residual",
    "gated residual",
    "hyper residual",
    "bank residual",
    "parallel residual",
    "mixer-only and FFN-only layers",
    "two mixers from one norm",
    "states told apart by name",
    "share, shared",
    "experts by an inner function",
    "latent experts",
    "experts without a gate",
    "shared expert",
    "routed from the un-normed stream",
    "foresee",
    "lookup on demand",
    "ids of earlier positions",
    "hashed ids",
    "reach chunk",
    "selection of positions",
    "several sources",
    "keys alone",
    "reach symmetric",
    "window",
    "whole",
    "programs: mtp, hidden rows as input",
    "programs on one Ops",
    "has",
    "headLinear",
    "latent attention, absorbed",
    "from: split",
    "from: split by heads",
    "from: concat",
    "from: transpose",
    "from: stack",
    "from: split of stacked experts",
    "bias",
    "keep recurrent",
    "recurrent beside kv",
    "states without pages",
    "shortConv",
    "deltaRule",
    "scan",
    "keep latent",
    "addVector",
    "compress",
    "rows of several positions",
    "rope at a block's start",
  ];
  for (const word of table) {
    const users = wordsArchitectures.filter(({ words }: WordsArchitecture) => words.includes(word));
    assert.ok(users.length > 0, `nobody uses '${word}'`);
  }
  assert.equal(new Set(names).size, names.length);
  // What they say they use they use: the list of calls shows it.
  const uses = async (name: string) => {
    const { program } = describeModel(await openCheckpoint(await write(name, "F32")), findWords);
    return new Set(program.calls.flatMap((call) => [call.verb, ...(call.hint ? ["hint"] : [])]));
  };
  for (const [name, verbs] of [
    ["words-parallel", ["layerNorm", "act"]],
    ["words-hyper", ["hyperWeights", "blend"]],
    ["words-gated", ["multiply", "multiplyVector"]],
    ["words-bank", ["streamScores", "blend"]],
    ["words-routed", ["experts", "expect", "hint"]],
    ["words-latent", ["experts", "expect"]],
    ["words-encoder", ["pool"]],
    ["words-table", ["columns", "join", "lookup"]],
    ["words-delta", ["recur", "shortConv", "addVector", "attention"]],
    ["words-scan", ["recur", "shortConv"]],
    ["words-blocks", ["compress", "select", "attention"]],
  ] as const) {
    const found = await uses(name);
    for (const verb of verbs) assert.ok(found.has(verb), `${name} does not use ${verb}`);
  }
});
