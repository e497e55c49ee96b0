import assert from "node:assert/strict";
import { test } from "node:test";
import { describeModel } from "../models/index.js";
import { parseSpec } from "../synth/presets.js";
import { layOutSynth, synthCheckpoint } from "../synth/synth.js";
import type { MachineProfile } from "./machine.js";
import { Planner } from "./plan.js";
import { predictDrafts } from "./plan-drafts.js";

const GiB = 2 ** 30;

const machine: MachineProfile = {
  memoryLimitBytes: 64 * GiB,
  availableBytes: 60 * GiB,
  memoryReadBytesPerSecond: 40e9,
  diskReadBytesPerSecond: 2e9,
  diskFirstTouchBytesPerSecond: 1e9,
  gemmOpsPerSecond: 1000e9,
  threads: 2,
};

function drafts(preset: string, budget: number) {
  const { name, shape } = parseSpec(preset);
  const planner = new Planner(describeModel(synthCheckpoint(layOutSynth(name, shape, shape.quant))), machine, {
    contextTokens: 4096,
  });
  const plan = planner.plan(budget);
  const { passes, texts } = predictDrafts(planner.model, machine, plan);
  const seconds = Object.fromEntries(passes.map(({ rows, seconds }) => [rows, seconds]));
  const of = Object.fromEntries(texts.map((kind) => [kind.text, kind]));
  return { seconds, of, one: plan.prediction.secondsPerToken };
}

test("rows are free as long as the disk takes longer than they do", () => {
  const { seconds, of, one } = drafts("qwen2.5-32b", 10 * GiB);
  // 32 billion parameters at 1000 GOP/s: 64 ms a row, five rows for unpacking; the disk takes five seconds.
  assert.deepEqual(new Set(Object.values(seconds)), new Set([one]));
  assert.ok(of.edit!.secondsPerToken < one / 10 && of.edit!.rows > 16);
  assert.ok(of.talk!.secondsPerToken < one / 1.3 && of.talk!.rows <= 4, "guesses that hardly come true are left out");
});

test("in memory a pass is no shorter than its arithmetic", () => {
  const { seconds, of, one } = drafts("qwen2.5-32b", 40 * GiB);
  assert.equal(seconds[1], one);
  // Sixteen rows and five for unpacking, 64 ms each: 32 billion parameters without the embedding.
  assert.ok(Math.abs(seconds[16]! / 21 - 0.064) < 1e-4, `${seconds[16]}`);
  assert.ok(of.edit!.rows > 4 && of.edit!.secondsPerToken < one / 3);
});

test("rows ask for experts of their own: where these are missing, guesses that hardly come true do not pay", () => {
  for (const budget of [8 * GiB, 40 * GiB]) {
    const { seconds, of, one } = drafts("qwen3-30b-a3b", budget);
    // Of 128 experts two rows choose 8 and 7.5 others.
    assert.ok(seconds[2]! > 1.4 * one && seconds[2]! < 1.95 * one, `${seconds[2]! / one}`);
    assert.ok(seconds[32]! < 16 * one, "the same ones are met again");
    assert.deepEqual([of.talk!.rows, of.code!.rows], [1, 1]);
    assert.equal(of.talk!.secondsPerToken, one);
    assert.ok(of.edit!.secondsPerToken < one);
  }
});
