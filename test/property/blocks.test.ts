/**
 * Blocks of the file that guess ahead change no token: answers with them, in engines that are shared, paused, cancelled
 * and short of pages, are those of an engine that does not know of them. All families, random weights, placements.
 *   HUNDREDWEIGHT_SWEEPS=whole  all families, not the five whose blocks differ most
 *   HUNDREDWEIGHT_CASES=20      cases of each family (default 1)
 *   HUNDREDWEIGHT_SEED=7        other cases
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { addonStatus } from "../../src/native/addon.js";
import { kvCacheTypes } from "../../src/ops/kv-form.js";
import { seededWords } from "../../src/synth/random.js";
import { guessingFamilies, mostDifferentFamilies, writeGuessingModel } from "../support/guessing-models.js";
import { placements } from "../support/placements.js";
import { randomModelVocab } from "../support/random-model.js";
import { wholeSweeps } from "../support/sweeps.js";
import type { Case, Way } from "./cases.js";
import { answersAlone, answersServed, longAnswers } from "./serve-way.js";

const status = addonStatus();
const best = status.isas?.at(-1) ?? "";
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}; blocks guess in the native implementation`;
const seed = Number(process.env.HUNDREDWEIGHT_SEED ?? 1);
const cases = Number(process.env.HUNDREDWEIGHT_CASES ?? 1);
const folder = mkdtempSync(join(tmpdir(), "hundredweight-blocks-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function caseOf(arch: string, variant: string, number: number): Case {
  const words = seededWords(seed, `blocks ${arch} ${number}`);
  const below = (n: number): number => words() % n;
  const shared = 1 + below(40);
  const first = Int32Array.from({ length: shared }, () => below(randomModelVocab));
  const prompts = Array.from({ length: 2 }, () => {
    const own = Int32Array.from({ length: shared + 1 + below(240) }, () => below(randomModelVocab));
    own.set(first);
    return own;
  });
  const way: Way = {
    ...{ isa: best, threads: 1 + below(3), chunk: below(2) === 0 ? "random" : 64, batched: true, logitRows: 16 },
    placement: placements[below(placements.length)]!,
  };
  const kvType = below(2) === 0 ? "f16" : kvCacheTypes[below(kvCacheTypes.length)]!;
  const model = { arch, variant, dims: 64, types: {}, seed } as const;
  // Who comes, pauses and is guessed for follows from it: another one for each family.
  const own = guessingFamilies.findIndex(([name]) => name === arch);
  return { seed: seed * 1000 + number * guessingFamilies.length + own, model, kvType, prompts, shared, ways: [way] };
}

/** Blocks that fail are left out with a warning: answers are right then too, and nothing was tried. */
const warnings: string[] = [];
process.on("warning", ({ message }) => warnings.push(message));

/** In an ordinary run those whose blocks differ most. */
const tried = wholeSweeps ? guessingFamilies : mostDifferentFamilies;

test("the tokens of an answer are the same with blocks that guess ahead of it", { skip }, async (t) => {
  let [answers, guesses] = [0, 0];
  for (const family of tried)
    for (let number = 0; number < cases; number++) {
      const [arch, variant] = family;
      const path = await writeGuessingModel(folder, family, { seed: seed + number });
      const c = caseOf(arch, variant, number);
      const expected = await answersAlone(path, c, best);
      const { answers: found, ofBlocks } = await answersServed(path, c, c.ways[0]!, number, expected);
      for (const [s, ids] of found.entries())
        assert.deepEqual(ids, expected[s % expected.length], `${arch}, case ${number}, answer ${s}`);
      answers += found.length;
      guesses += ofBlocks;
    }
  t.diagnostic(`${answers} answers compared, ${guesses} guesses of blocks`);
  // Look-ups come first where there is a prediction, and what is guessed by `auto` depends on the time it takes.
  assert.deepEqual(warnings, []);
  assert.ok(guesses > tried.length * cases, "hardly any guesses");
  assert.deepEqual(warnings, []);
});

test("an answer that was sent back and evaluated again is the same beside blocks", { skip }, async () => {
  const family = guessingFamilies[1]!;
  const path = await writeGuessingModel(folder, family);
  const c = caseOf(family[0], family[1], 0);
  const way: Way = { ...c.ways[0]!, threads: 2, chunk: 64, placement: placements[0]! };
  const alone = await longAnswers(path, c, way, false);
  const squeezed = await longAnswers(path, c, way, true);
  assert.deepEqual(squeezed.answers, alone.answers);
  assert.ok(squeezed.sentBack > 0, "nobody was sent back");
  assert.deepEqual(warnings, []);
});
