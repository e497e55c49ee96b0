/** The arithmetic of a guide to models on consumer hardware, put right. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { describeModel } from "../models/index.js";
import { parseSpec } from "../synth/presets.js";
import { representativeShape } from "../synth/representative.js";
import { layOutSynth, synthCheckpoint } from "../synth/synth.js";
import { acceleratorBound, acceleratorKeptBytes } from "./accelerator-bound.js";
import { Planner } from "./plan.js";
import { parseProfile, profileNames } from "./profiles.js";

const GB = 1e9;
const close = (found: number, expected: number, share = 0.02): void =>
  assert.ok(Math.abs(found / expected - 1) <= share, `${found} is not about ${expected}`);

test("profiles are parts and memory, in any usual spelling", () => {
  const told = (word: string) => {
    const { machine, accelerator } = parseProfile(word);
    return [machine.memoryLimitBytes / 2 ** 30, machine.threads, accelerator?.name];
  };
  assert.deepEqual(told("rtx4090+128g"), [128, 8, "RTX 4090"]);
  assert.deepEqual(told("m2max-32g"), [32, 12, undefined]);
  assert.deepEqual(told("7950x-64g"), [64, 16, undefined]);
  assert.deepEqual(told("7950x+rtx4080+64GB"), [64, 16, "RTX 4080"]);
  assert.deepEqual(told("i9-13900K-64g"), [64, 24, undefined]);
  assert.deepEqual(told("RX7900XT+32g"), [32, 8, "RX 7900 XT"]);
  for (const name of profileNames) assert.ok(told(name));
  for (const word of ["rtx4090+rtx4080", "zx81", "7950x-1g", "", "m2max+13900k"])
    assert.throws(() => parseProfile(word), { code: "OPTION_INVALID", message: /write like rtx4090\+128g/ });
  assert.match(parseProfile("m2max-192g").notes.join(), /M2 Max has at most 96 GiB/);
  assert.match(parseProfile("coral+32g").notes.join(), /8 MiB of memory/);
  assert.match(parseProfile("ncs2+32g").notes.join(), /512 MiB of memory behind USB/);
});

test("a dense 100B on an RTX 4090: 2.1 tokens a second at most, 0.7 when copied, 0.12 from the disk", () => {
  const { machine, accelerator } = parseProfile("rtx4090+128g");
  // 56 GB: 20 of them on the card.
  const model = { trunkBytes: 56 * GB, expertBytes: 0, expertLayers: [], topK: 0 };
  const card = { ...accelerator!, memoryBytes: 20 * GB + acceleratorKeptBytes };
  const bound = acceleratorBound({ model, machine, accelerator: card, kvBytes: 0, memoryForWeights: 100 * GB });
  close(1 / bound.secondsPerToken, 1 / (20 / 1008 + 36 / 80));
  assert.ok(1 / bound.secondsPerToken < 2.15 && 1 / bound.secondsPerToken > 2.1);
  close(1 / bound.secondsCopied, 0.7, 0.03);
  const nothing = { ...card, memoryBytes: 0 };
  const read = acceleratorBound({ model, machine, accelerator: nothing, kvBytes: 0, memoryForWeights: 0 });
  close(1 / read.secondsPerToken, 0.125);
});

test("experts: the trunk on the card, what a token chooses from where it lies", () => {
  const { machine, accelerator } = parseProfile("rtx4090+64g");
  const layer = { layer: 0, experts: 100, matrices: [], bytesPerExpert: 0.5 * GB };
  const model = { trunkBytes: 5 * GB, expertBytes: 50 * GB, expertLayers: [layer], topK: 10 };
  const card = { ...accelerator!, memoryBytes: 15 * GB + acceleratorKeptBytes };
  const bound = acceleratorBound({ model, machine, accelerator: card, kvBytes: 0, memoryForWeights: 30 * GB });
  assert.equal(bound.diskBytes, 10 * GB);
  // A token uses a tenth of the experts: of those on the card, in memory, on the disk.
  close(bound.secondsPerToken, (5 + 1) / 1008 + 3 / 80 + 1 / 7, 1e-9);
});

test("keys and values of 2,048 tokens: 5.4 GB with 64 heads, 0.67 GB with 8, not 32", () => {
  const kvOf = (spec: string): number => {
    const { name, shape } = parseSpec(spec);
    const description = describeModel(synthCheckpoint(layOutSynth(name, shape)));
    const { machine } = parseProfile("7950x-192g");
    const kv = (contextTokens: number) => new Planner(description, machine, { contextTokens }).plan().bytes.kv;
    // A page is kept beside those that a context fills.
    return kv(4096) - kv(2048);
  };
  close(kvOf("llama-70b,kv-heads=64"), 5.37 * GB);
  close(kvOf("llama-70b"), 0.671 * GB);
});

test("100B in 8 bits on an M2 Max of 32 GB: not 5.4 tokens a second", () => {
  const { machine } = parseProfile("m2max-32g");
  const shape = representativeShape(100e9, undefined, "Q8_0");
  const description = describeModel(synthCheckpoint(layOutSynth("representative", shape)));
  const plan = new Planner(description, machine).plan();
  assert.equal(plan.strategy, "streamed");
  // What does not fit comes from the disk at every token; memory alone would allow 4 a second at best.
  assert.ok(plan.prediction.secondsPerToken > 10 && plan.prediction.secondsPerToken < 20);
  assert.ok(plan.prediction.passBytes / machine.memoryReadBytesPerSecond > 0.25);
  // 0.2 trillion operations a token, not hundreds.
  assert.ok(2 * 100e9 < 0.21e12);
});

/**
 * Whole plans, as they were when this was written (2026-11-30), bytes to the byte and times to three digits. Those of
 * the streamed one follow by hand: 28.7 GB at 7 GB/s are 4.11 s, and the last products of 0.1 s wait for their bytes.
 */
const golden = [
  {
    spec: "llama-3-8b",
    profile: "7950x-64g",
    strategy: "resident",
    bytes: { pinned: 4619239424, expertSlots: 0, ring: 0, kv: 570425344, activations: 85416512, runtime: 201326592 },
    streamed: 0,
    secondsPerToken: 0.0612,
    prefillTokensPerSecond: 98.2,
  },
  {
    spec: "llama-70b",
    profile: "13900k-16g",
    strategy: "streamed",
    bytes: {
      pinned: 13178418944,
      expertSlots: 0,
      ring: 134217728,
      kv: 1426063360,
      activations: 53188672,
      runtime: 201326592,
    },
    streamed: 28747704576,
    secondsPerToken: 4.21,
    prefillTokensPerSecond: 4.6,
  },
  {
    spec: "qwen3-30b-a3b",
    profile: "13900k-16g",
    strategy: "experts",
    bytes: {
      pinned: 825677824,
      expertSlots: 13310644224,
      ring: 134217728,
      kv: 427819008,
      activations: 86844544,
      runtime: 201326592,
    },
    streamed: 268720128,
    secondsPerToken: 0.0616,
    prefillTokensPerSecond: 112,
  },
] as const;

for (const expected of golden)
  test(`the whole plan of ${expected.spec} in Q4_K_M on ${expected.profile}`, () => {
    const { name, shape } = parseSpec(expected.spec);
    const description = describeModel(synthCheckpoint(layOutSynth(name, shape, "Q4_K_M")));
    const { machine } = parseProfile(expected.profile);
    const plan = new Planner(description, machine, { contextTokens: 4096 }).plan();
    const { passBytes, streamedBytesPerPass, secondsPerToken, prefillTokensPerSecond } = plan.prediction;
    const digits = (value: number): number => Number(value.toPrecision(3));
    const { pinned, expertSlots, ring, kv, activations, runtime } = plan.bytes;
    assert.deepEqual(
      {
        ...{ spec: expected.spec, profile: expected.profile, strategy: plan.strategy },
        bytes: { pinned, expertSlots, ring, kv, activations, runtime },
        streamed: Math.round(streamedBytesPerPass),
        secondsPerToken: digits(secondsPerToken),
        prefillTokensPerSecond: digits(prefillTokensPerSecond),
      },
      expected,
    );
    // The parts are the whole, and a token takes no less than its bytes take.
    assert.equal(
      Object.values(plan.bytes).reduce((sum, part) => sum + part, 0),
      plan.totalBytes,
    );
    assert.ok(plan.totalBytes <= plan.budgetBytes);
    assert.ok(secondsPerToken >= passBytes / machine.memoryReadBytesPerSecond);
    assert.ok(secondsPerToken >= streamedBytesPerPass / machine.diskReadBytesPerSecond);
  });
