/** Types by price: hulls, exact bytes, and trials that are the files that would be written. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { calibrate } from "../src/compress/calibrate.js";
import { isQuantizable } from "../src/compress/mix.js";
import { openMoments, writeMoments } from "../src/compress/moments.js";
import { writeQuantized } from "../src/convert/index.js";
import { dtypeByName, openGguf } from "../src/formats/index.js";
import { describeModel } from "../src/models/index.js";
import {
  type Candidate,
  type Choice,
  hullOf,
  measureCandidates,
  searchedTypes,
} from "../src/quality/mix/candidates.js";
import { Judge } from "../src/quality/mix/judge.js";
import { fileBytes, futureModel, isFit, mostBytes, planOf } from "../src/quality/mix/outlook.js";
import { EncodedPool } from "../src/quality/mix/pool.js";
import { improve, measureGroups, planWith, presetsOf, trialOf, weightsBy } from "../src/quality/mix/search.js";
import { bytesOf, solve } from "../src/quality/mix/solve.js";
import { Rng } from "../src/sampling/rng.js";
import { knownMachine } from "../src/weights/probe.js";
import { skipAddon } from "./support/addon.js";
import { randomTokens } from "./support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-mix-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const candidate = (bytes: number, error: number): Candidate => ({ dtype: dtypeByName("Q8_0")!, bytes, error });

test("a hull keeps what a price can choose", () => {
  const all = [
    candidate(40, 4),
    candidate(10, 10),
    candidate(30, 9),
    candidate(20, 5),
    candidate(50, 4),
    candidate(60, 0),
  ];
  assert.deepEqual(
    hullOf(all).map(({ bytes }) => bytes),
    [10, 20, 60],
  );
});

test("no choice of the same bytes is predicted to be much better", () => {
  const rng = new Rng(9);
  const random = () => rng.uniform();
  for (let round = 0; round < 20; round++) {
    const choices = Array.from({ length: 5 }, (): Choice => {
      const all = Array.from({ length: 5 }, (_, i) =>
        candidate(10 + 7 * i + Math.floor(3 * random()), random() / (i + 1)),
      );
      return { planned: undefined as never, all, candidates: hullOf(all) };
    });
    const weights = choices.map(() => 0.1 + random());
    const damage = (picked: readonly Candidate[]) => picked.reduce((sum, { error }, i) => sum + weights[i]! * error, 0);
    const budget = 110;
    const found = solve(choices, weights, budget)!;
    assert.ok(bytesOf(found) <= budget);
    let best = Infinity;
    const walk = (i: number, picked: Candidate[]): void => {
      if (i === choices.length) {
        if (bytesOf(picked) <= budget) best = Math.min(best, damage(picked));
      } else for (const next of choices[i]!.candidates) walk(i + 1, [...picked, next]);
    };
    walk(0, []);
    assert.ok(damage(found) < best + 0.35, `${damage(found)} ${best}`);
    assert.equal(solve(choices, weights, 10), undefined);
  }
});

describe("a search", { skip: skipAddon }, () => {
  test("measures, fits its bytes, and a trial is the file that is written", async () => {
    const path = join(folder, "model.gguf");
    const types = { attention: "F16", ffn: "F16", embedding: "F16", head: "F16" };
    await writeRandomModel(path, { arch: "llama", variant: "dense", dims: 256, types, seed: 4 });
    const checkpoint = openGguf(path);
    const chunks = [Int32Array.from(randomTokens(48, randomModelVocab, 3))];
    const options = { chunkTokens: 48, threads: 2 };
    const calibration = [11, 12, 13].map((seed) => Int32Array.from(randomTokens(48, randomModelVocab, seed)));
    const found = await calibrate(describeModel(checkpoint), calibration, { ...options, momentBytes: 2 ** 24 });
    const momentsFile = join(folder, "model.moments.gguf");
    await writeMoments(momentsFile, found.moments!, found);
    // Whatever is looked at has error feedback: errors, trials, presets, the result.
    const wishes = { moments: openMoments(momentsFile) };
    const presets = presetsOf(checkpoint, wishes);
    const tensors = presets[0]!.plan.tensors.filter(({ tensor }) => isQuantizable(tensor));
    const choices = await measureCandidates(tensors, searchedTypes, { threads: 2, wishes });
    for (const { candidates } of choices) assert.ok(candidates.length > 3 && candidates.at(-1)!.error === 0);
    const plain = await measureCandidates(tensors.slice(0, 3), searchedTypes, { threads: 2 });
    for (const { candidates } of plain) assert.ok(candidates.length > 3 && candidates.at(-1)!.error === 0);
    const pool = new EncodedPool(join(folder, "trials"), checkpoint, 2, wishes);
    const judge = new Judge(checkpoint, options);
    const domains = [{ name: "text", chunks }];
    const search = { checkpoint, choices, pool, judge, domains };
    const measured = await measureGroups(search, 4.5);
    assert.ok(measured.groups.every(({ kl }) => kl > 0));
    const weights = weightsBy(choices, measured);
    assert.throws(() => weightsBy(choices, { ...measured, groups: [] }), { code: "OPTION_INVALID" });
    const budget = Math.floor(choices.reduce((sum, { candidates }) => sum + candidates.at(-1)!.bytes, 0) / 3);
    const predicted = solve(choices, weights, budget)!;
    const best = await improve(search, weights, [predicted], budget, 1);
    assert.ok(bytesOf(best.assignment) <= budget);
    const plan = planWith(checkpoint, { mix: "Q4_K_M", ...wishes }, choices, best.assignment);
    const to = join(folder, "out.gguf");
    await writeQuantized(to, plan, { threads: 2 });
    assert.equal(statSync(to).size, fileBytes(plan));
    const trial = await trialOf(search, best.assignment);
    const against = await new Judge(trial, options).compare([openGguf(to)], domains);
    assert.equal(against.all.models[0]!.kl.largest, 0);
    await pool.close();
    assert.equal(existsSync(pool.path), false);

    // What fits into memory does so by the plan's own words, and a little more would not.
    const { profile } = knownMachine();
    const at = (bytes: number) => futureModel(checkpoint, choices, solve(choices, weights, bytes)!);
    const range = { least: budget, most: 3 * budget };
    const fitOf = (memoryBytes: number) => ({ memoryBytes, machine: profile });
    let memory = 64 * 2 ** 20;
    while (!isFit(planOf(at(range.least), fitOf(memory)), fitOf(memory))) memory += 2 ** 20;
    const fits = (bytes: number) => isFit(planOf(at(bytes), fitOf(memory)), fitOf(memory));
    const most = mostBytes(range, fits)!;
    assert.ok(fits(most) && !fits(most + 2 ** 19) && !fits(range.most), `${most} of ${memory}`);
    assert.equal(
      mostBytes(range, () => false),
      undefined,
    );
  });
});
