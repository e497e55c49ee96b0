import assert from "node:assert/strict";
import { test } from "node:test";
import { describeModel } from "../models/index.js";
import { parseSpec } from "../synth/presets.js";
import { layOutSynth, synthCheckpoint } from "../synth/synth.js";
import type { MachineProfile } from "./machine.js";
import { Planner } from "./plan.js";
import { predictDrafts } from "./plan-drafts.js";
import { promptWork } from "./plan-work.js";

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

function drafts(preset: string, budget: number, more: Partial<MachineProfile> = {}, programs: string[] = []) {
  const { name, shape } = parseSpec(preset);
  const description = describeModel(synthCheckpoint(layOutSynth(name, shape, shape.quant)));
  const planner = new Planner(description, { ...machine, ...more }, { contextTokens: 4096, programs });
  const plan = planner.plan(budget);
  const { passes, texts, blocks } = predictDrafts(planner.model, planner.machine, plan);
  const seconds = Object.fromEntries(passes.map(({ rows, seconds }) => [rows, seconds]));
  const of = Object.fromEntries(texts.map((kind) => [kind.text, kind]));
  const { secondsPerToken: one, computeSeconds: compute } = plan.prediction;
  return { seconds, of, one, compute, blocks, head: promptWork(description).head };
}

test("rows are free as long as the disk takes longer than they do", () => {
  const { seconds, of, one } = drafts("qwen2.5-32b", 10 * GiB);
  // 32 billion parameters at 1000 GOP/s: 64 ms a row, five rows for unpacking; the disk takes five seconds.
  assert.deepEqual(new Set(Object.values(seconds)), new Set([one]));
  assert.ok(of.edit!.secondsPerToken < one / 10 && of.edit!.rows > 16);
  assert.ok(of.talk!.secondsPerToken < one / 1.3 && of.talk!.rows <= 4, "guesses that hardly come true are left out");
});

test("in memory a pass is no shorter than its arithmetic", () => {
  const { seconds, of, one, compute } = drafts("qwen2.5-32b", 40 * GiB);
  assert.equal(seconds[1], one);
  // Sixteen rows and six for unpacking, 64 ms each: 32 billion parameters without the embedding. Products reach 0.78 of
  // the rate, and a quarter of reading the weights is not hidden.
  const arithmetic = (22 * 0.064) / 0.78 + compute / 4;
  assert.ok(Math.abs(seconds[16]! / arithmetic - 1) < 0.01, `${seconds[16]}, ${arithmetic}`);
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

test("rows cost what the probe measured of their types: more of them are a longer pass, and fewer guesses pay", () => {
  const rates = (opsPerSecond: number) => ({
    computeRates: {
      products: { Q4_K: { opsPerSecond, unpackRows: 4 }, Q6_K: { opsPerSecond: opsPerSecond / 2, unpackRows: 6 } },
      attentionOpsPerSecond: opsPerSecond / 5,
      gateValuesPerSecond: opsPerSecond / 100,
    },
  });
  const [slow, fast] = [300e9, 3000e9].map((rate) => drafts("qwen3-8b", 40 * GiB, rates(rate)));
  const { seconds, one } = slow!;
  for (const rows of [4, 8, 16, 32]) assert.ok(seconds[rows]! > seconds[rows / 2]! * 1.1, `${rows} rows`);
  assert.ok(seconds[2]! >= one && seconds[2]! <= 2 * one);
  assert.ok(fast!.seconds[4]! < 1.2 * fast!.one, "memory is the limit there");
  assert.ok(fast!.of.edit!.rows > slow!.of.edit!.rows);
  // Logits of every row: the head is a product as well.
  assert.equal(slow!.head.length, 1);
  assert.equal(slow!.head[0]!.products, 151_936 * 4096);
});

test("blocks of the file are told with their weights and the time of a guess", () => {
  const { blocks, one } = drafts("qwen3.6-27b,mtp=1", 40 * GiB, {}, ["mtp0"]);
  assert.equal(blocks?.blocks, 1);
  // A layer and the head beside 64 layers and the head.
  assert.ok(blocks.bytes > 0.1e9 && blocks.bytes < 0.6e9, `${blocks.bytes}`);
  assert.ok(blocks.secondsPerGuess > one / 40 && blocks.secondsPerGuess < one / 8, `${blocks.secondsPerGuess / one}`);
  assert.equal(drafts("qwen3.6-27b", 40 * GiB).blocks, undefined);
});
