import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Mix } from "../compress/mix.js";
import { sliceExtents, storedBytes } from "../formats/index.js";
import { describeModel, type ModelDescription } from "../models/index.js";
import { parseSpec } from "../synth/presets.js";
import { layOutSynth, synthCheckpoint } from "../synth/synth.js";
import type { MachineProfile } from "./machine.js";
import { type Plan, Planner, type PlanOptions } from "./plan.js";
import { advise } from "./plan-advice.js";
import { leastSlotBytes, makeSlots } from "./plan-experts.js";
import { textProcessBytes } from "./plan-fixed.js";
import { planModel } from "./plan-model.js";
import { waterLevel } from "./plan-place.js";
import { predict } from "./plan-predict.js";
import { makeRing } from "./plan-tiles.js";

const MiB = 2 ** 20;
const GiB = 2 ** 30;

const machine: MachineProfile = {
  memoryLimitBytes: 16 * GiB,
  availableBytes: 14 * GiB,
  memoryReadBytesPerSecond: 24e9,
  diskReadBytesPerSecond: 2e9,
  diskFirstTouchBytesPerSecond: 1e9,
  gemmOpsPerSecond: 200e9,
  threads: 2,
};

function model(spec: string, quant?: Mix): ModelDescription {
  const { name, shape } = parseSpec(spec);
  return describeModel(synthCheckpoint(layOutSynth(name, shape, quant ?? shape.quant)));
}

const models = {
  dense: model("qwen2.5-32b"),
  tied: model("llama-1b"),
  windows: model("gemma-3-4b"),
  moe: model("qwen3-30b-a3b"),
  biased: model("gpt-oss-20b"),
  tall: model("llama,layers=7,dim=512,heads=8,kv-heads=8,head-dim=64,hidden=1280,vocab=5000", "F16"),
};

/** Everything that must hold for any plan. */
function check(description: ModelDescription, plan: Plan): void {
  const sum = Object.values(plan.bytes).reduce((a, b) => a + b, 0);
  assert.equal(plan.totalBytes, sum);
  assert.ok(sum <= plan.budgetBytes, `${sum} of ${plan.budgetBytes}`);
  const { promptPassSeconds, firstPromptPassSeconds } = plan.prediction;
  assert.ok(promptPassSeconds > 0 && firstPromptPassSeconds >= promptPassSeconds);
  for (const bytes of Object.values(plan.bytes)) assert.ok(Number.isSafeInteger(bytes) && bytes >= 0);

  // Order of consumption: as the declaration lists them, the head last; no expert, no untied embedding.
  const declared = description.tensors.filter(
    (t) => t.kind === "matrix" && !(t.role === "expert" && t.info.shape[2]! > 1),
  );
  const names = [
    ...declared.filter((t) => t.role !== "head" && t.role !== "embedding"),
    ...declared.filter((t) => t.role === "head"),
  ].map((t) => t.name);
  assert.deepEqual(
    plan.matrices.map((m) => m.name),
    names,
  );

  const experts = description.tensors.filter((t) => t.role === "expert" && t.kind === "matrix");
  const vectors = description.tensors
    .filter((t) => t.kind === "vector")
    .reduce((a, t) => a + 4 * t.info.shape.reduce((x, y) => x * y, 1), 0);
  const rows = plan.matrices.reduce((a, m, i) => a + plan.pinned[i]! * m.slices.bytes, 0);
  const whole = plan.strategy === "resident" ? experts.reduce((a, t) => a + storedBytes(t.info.planes), 0) : 0;
  // RoPE divisors are read and not kept, so the vectors held are at most those of the file.
  // Each matrix may bring a page before its first row and one behind its last.
  const edges = 2 * 4096 * (plan.matrices.length + experts.length);
  assert.ok(plan.bytes.pinned <= rows + vectors + whole + edges && plan.bytes.pinned >= rows + whole);

  // Tiles cover what is not pinned exactly once, in order, inside their tensor and with room for the pages around.
  const covered = Array.from(plan.pinned);
  let matrix = 0;
  for (const tile of plan.program) {
    assert.ok(tile.matrix >= matrix);
    matrix = tile.matrix;
    const m = plan.matrices[matrix]!;
    assert.equal(tile.from, covered[matrix]);
    assert.ok(tile.to > tile.from && tile.to <= m.slices.count);
    assert.equal(tile.bytes, (tile.to - tile.from) * m.slices.bytes);
    assert.equal(sliceExtents(m, 0, tile.from, tile.to)[0]!.bytes, tile.bytes);
    assert.ok(tile.bytes + 2 * 4096 <= plan.ring.slotBytes);
    covered[matrix] = tile.to;
  }
  assert.deepEqual(
    covered,
    plan.matrices.map((m) => m.slices.count),
  );
  if (plan.strategy !== "resident") assert.ok(plan.ring.slots >= 4 && plan.ring.slotBytes >= 256 * 1024);

  for (const c of plan.slotClasses) {
    assert.ok(c.slots >= Math.min(description.config.topK, c.experts) && c.slots <= c.experts);
    assert.ok(c.slotBytes >= c.segments.reduce((a, b) => a + b, 0));
  }
  assert.equal(
    plan.bytes.expertSlots,
    plan.slotClasses.reduce((a, c) => a + c.slots * c.slotBytes, 0),
  );
}

test("the process for texts is a part of the runtime, at most 60 MB for 150,000 tokens", () => {
  assert.ok(textProcessBytes(150_000) <= 60e6);
  const { vocab } = models.tied.config;
  const budget = 6 * GiB;
  const without = new Planner(models.tied, machine, { contextTokens: 2048 }).plan(budget);
  const with_ = new Planner(models.tied, machine, { contextTokens: 2048, textProcess: true }).plan(budget);
  assert.equal(with_.bytes.runtime - without.bytes.runtime, textProcessBytes(vocab));
  check(models.tied, with_);
});

const cost = (p: Plan) => p.prediction.secondsPerToken + 8 / p.prediction.prefillTokensPerSecond;

describe("plan", () => {
  for (const [name, description] of Object.entries(models)) {
    const options: PlanOptions = { contextTokens: 2048 };
    test(`${name}: every budget gives a sound plan, and more is never slower`, () => {
      const planner = new Planner(description, machine, options);
      const least = planner.minimumBudgetBytes();
      const resident = planner.residentBudgetBytes(2048);
      let before: Plan | undefined;
      const seen = new Set<string>();
      for (let i = 0; i <= 10; i++) {
        const plan = planner.tryPlan(Math.floor(least + ((resident - least) * i) / 10));
        assert.ok(plan !== undefined);
        check(description, plan);
        seen.add(plan.strategy);
        // Rounding to whole rows may leave less than a row of each kind unused.
        const slack = 2 ** 18 / machine.diskReadBytesPerSecond;
        if (before !== undefined) assert.ok(cost(plan) <= cost(before) * (1 + 1e-12) + 5 * slack, `budget ${i} of 10`);
        before = plan;
      }
      assert.equal(before!.strategy, "resident");
      assert.equal(before!.program.length, 0);
      assert.ok(seen.has(description.config.experts > 0 ? "experts" : "streamed"));
    });

    test(`${name}: the smallest budget works, one MiB less does not`, () => {
      for (const o of [options, {}]) {
        const planner = new Planner(description, machine, o);
        const least = planner.minimumBudgetBytes();
        check(description, planner.plan(least));
        assert.throws(
          () => planner.plan(least - MiB),
          (error: { code: string; details: { minimumBudgetBytes: number } }) =>
            error.code === "MEMORY_BUDGET" && error.details.minimumBudgetBytes === least,
        );
      }
    });
  }

  test("what is streamed is even over the layers", () => {
    for (const description of [models.dense, models.tall, models.windows]) {
      const planner = new Planner(description, machine, { contextTokens: 1024 });
      const [least, all] = [planner.minimumBudgetBytes(), planner.residentBudgetBytes(1024)];
      for (const share of [0.2, 0.5, 0.8]) {
        const plan = planner.plan(Math.floor(least + share * (all - least)));
        const streamed = new Float64Array(description.config.layers);
        for (const tile of plan.program) {
          const { layer } = plan.matrices[tile.matrix]!;
          if (layer >= 0) streamed[layer]! += tile.bytes;
        }
        const most = Math.max(...streamed);
        const largest = Math.max(...plan.matrices.map((m) => m.slices.bytes));
        // Layers may be smaller than the level (a mix gives some fewer bits); those are streamed whole.
        for (const [layer, bytes] of streamed.entries()) {
          const whole = plan.matrices.reduce(
            (a, m, i) => a + (m.layer === layer && plan.pinned[i] === 0 ? m.bytes : 0),
            0,
          );
          assert.ok(most - bytes <= 4 * largest || bytes === whole, `layer ${layer}: ${bytes} of ${most}`);
        }
      }
    }
  });

  test("small matrices are pinned first, then the head", () => {
    const plan = new Planner(models.dense, machine, { contextTokens: 2048 }).plan(4 * GiB);
    for (const [i, m] of plan.matrices.entries()) {
      if (/attn_[kv]\.weight$/.test(m.name)) assert.equal(plan.pinned[i], m.slices.count, m.name);
    }
    assert.equal(plan.pinned.at(-1), plan.matrices.at(-1)!.slices.count);
    assert.ok(plan.matrices.every((m) => m.name !== "token_embd.weight"));
  });

  test("seconds per token are a hinge: max((S - P) / D, C)", () => {
    const planner = new Planner(models.dense, machine, { contextTokens: 2048 });
    for (const share of [0.1, 0.5, 0.9, 0.97, 1]) {
      const { prediction } = planner.plan(Math.floor(share * planner.residentBudgetBytes(2048)));
      const D = machine.diskReadBytesPerSecond;
      const limit = Math.max(prediction.streamedBytesPerPass / D, prediction.computeSeconds);
      assert.ok(prediction.secondsPerToken >= limit * (1 - 1e-9), `${share}: ${prediction.secondsPerToken}, ${limit}`);
      assert.ok(prediction.secondsPerToken <= 1.15 * limit, `${share}: ${prediction.secondsPerToken} of ${limit}`);
      assert.ok(prediction.firstPassSeconds >= prediction.secondsPerToken);
    }
  });

  test("weights memory from 110 % to 15 % of the file, and rings down to four tiles of 256 KiB", () => {
    const { tall } = models;
    const file = planModel(tall).trunkBytes;
    for (const share of [1.1, 1, 0.9, 0.5, 0.15])
      for (const ringBytes of [MiB, 8 * MiB]) {
        const weightsMemoryBytes = Math.floor(share * file);
        if (ringBytes > weightsMemoryBytes) continue;
        const plan = new Planner(tall, machine, { weightsMemoryBytes, ringBytes, contextTokens: 512 }).plan();
        check(tall, plan);
        const rows = plan.matrices.reduce((a, m, i) => a + plan.pinned[i]! * m.slices.bytes, 0);
        assert.ok(rows + plan.ring.bytes <= weightsMemoryBytes);
        assert.equal(plan.strategy, share >= 1 ? "resident" : "streamed");
        if (share < 1) assert.equal(plan.ring.bytes, ringBytes);
      }
    assert.throws(() => new Planner(tall, machine, { weightsMemoryBytes: 1000 }).plan(), { code: "MEMORY_BUDGET" });
  });

  test("experts: classes by size with the same share of slots; the trunk is streamed when it does not fit", () => {
    const { moe } = models;
    const { expertLayers } = planModel(moe);
    const least = leastSlotBytes(expertLayers, 8);
    assert.ok(makeSlots(expertLayers, 8, least).every((c) => c.slots === 8));
    const classes = makeSlots(expertLayers, 8, 6 * GiB);
    assert.equal(classes.length, 2); // Q4_K and Q6_K down matrices
    assert.equal(
      classes.reduce((a, c) => a + c.experts, 0),
      48 * 128,
    );
    assert.deepEqual(
      classes.flatMap((c) => c.layers).sort((a, b) => a - b),
      Array.from({ length: 48 }, (_, i) => i),
    );
    const [a, b] = classes.map((c) => c.slots / c.experts);
    assert.ok(Math.abs(a! - b!) < 2 / classes[0]!.experts);
    const used = classes.reduce((sum, c) => sum + c.slots * c.slotBytes, 0);
    assert.ok(used <= 6 * GiB && used > 6 * GiB - Math.max(...classes.map((c) => c.slotBytes)));

    const tight = new Planner(moe, machine, { contextTokens: 1024 }).plan(700 * MiB);
    assert.ok(tight.program.length > 0 && tight.notes.some((note) => /not even the trunk fits/.test(note)));
    const third = new Planner(moe, machine, { contextTokens: 4096 }).plan(6 * GiB);
    assert.equal(third.program.length, 0);
    assert.ok(third.prediction.expertHitRate > 0.2 && third.prediction.expertHitRate < 0.5);
  });

  test("windows take less cache, quantized caches less still; nothing of it is chosen by the budget", () => {
    const kv = (description: ModelDescription, options: PlanOptions) =>
      new Planner(description, machine, options).plan(13 * GiB).bytes.kv;
    const full = kv(models.windows, { contextTokens: 32768 });
    const perToken = models.windows.states.reduce((sum, s) => sum + s.heads * (s.headDimK + s.headDimV) * 2, 0);
    assert.ok(full < 0.3 * 32768 * perToken, "five of six layers keep 1024 positions");
    assert.ok(
      Math.abs(
        kv(models.dense, { contextTokens: 4096, kvType: "q8_0" }) / kv(models.dense, { contextTokens: 4096 }) - 34 / 64,
      ) < 1e-9,
    );
    assert.equal(new Planner(models.dense, machine, {}).plan(GiB).kvType, "f16");
  });

  test("the context nobody asked for is what fits", () => {
    const context = (budget: number) => new Planner(models.tied, machine).plan(budget).contextTokens;
    assert.equal(context(500 * MiB), 1024);
    assert.equal(context(2 * GiB), 8192);
    assert.equal(context(13 * GiB), 65536);
  });

  test("a chunk computes four times as long as it reads, within bounds", () => {
    const chunk = (diskRate: number, streamed: number, maxRows: number, sequences = 1) =>
      predict({
        model: planModel(models.dense),
        machine: { ...machine, diskReadBytesPerSecond: diskRate },
        ring: makeRing(64 * MiB, 20000, 4 * MiB, machine),
        trunkStreamedBytes: streamed,
        slotClasses: [],
        expertsResident: false,
        kvBytesPerToken: 262144,
        slotBytes: 0,
        contextTokens: 4096,
        maxRows,
        sequences,
      }).chunkRows;
    // 32 billion parameters at 200 GOP/s: 0.32 s a row; 10 GB at 0.5 GB/s: 20 s, four times that is about 235 rows.
    const rows = chunk(0.5e9, 10e9, 2048);
    assert.ok(rows > 225 && rows < 255, `${rows}`);
    assert.ok(chunk(0.25e9, 10e9, 2048) > 1.9 * rows);
    assert.equal(chunk(0.5e9, 10e9, 200), 200);
    assert.equal(chunk(20e9, 10e9, 2048), 128);
    assert.equal(chunk(0.5e9, 0, 512), 512);
    assert.ok(chunk(20e9, 10e9, 2048, 4) < 32, "others would wait for more than ten seconds");
  });

  test("rings: tiles of the wanted size where four of them fit, never less than a slice", () => {
    for (const [bytes, row, tile, slots, slotBytes] of [
      [64 * MiB, 20000, 4 * MiB, 16, 4 * MiB],
      [64 * MiB, 20000, MiB, 64, MiB],
      [8 * MiB, 20000, 4 * MiB, 4, 2 * MiB],
      [MiB, 20000, 4 * MiB, 4, MiB / 4],
      [1000, 300000 + 2 * 4096, MiB, 4, 311296],
    ] as const) {
      const ring = makeRing(bytes, row, tile, machine);
      assert.deepEqual([ring.slots, ring.slotBytes, ring.bytes], [slots, slotBytes, slots * slotBytes]);
      assert.ok(ring.depth >= 1 && ring.depth < ring.slots);
    }
  });

  test("water level", () => {
    assert.equal(waterLevel([10, 10, 10], 6), 8);
    assert.equal(waterLevel([10, 4, 2], 5), 5);
    assert.equal(waterLevel([10, 4, 2], 8), 3);
    assert.equal(waterLevel([10, 4, 2], 16), 0);
    assert.equal(waterLevel([10, 4, 2], 20), 0);
    assert.equal(waterLevel([], 5), 0);
  });

  test("advice tells what memory, cache and disk would bring", () => {
    const options: PlanOptions = { contextTokens: 8192 };
    const plan = new Planner(models.dense, machine, options).plan(10 * GiB);
    const advice = advise(models.dense, machine, options, plan).join("\n");
    assert.match(advice, /^`--memory \d+(\.\d)?GiB`.*: \d\.\dx \(\d\.\d s\/token\)$/m);
    assert.match(advice, /^`--memory \d+(\.\d)?GiB`.*: everything in memory, \d\.\dx/m);
    assert.match(advice, /^`--kv q8_0`: 1\.0 GiB more weights in memory, (\+\d+ %|\d\.\dx)/m);
    assert.match(advice, /^a disk twice as fast: 2\.0x/m);
  });

  test("advice of a model that fits tells what else would, and no more than that", () => {
    const advised = (description: ModelDescription, options: PlanOptions, budget: number) =>
      advise(description, machine, options, new Planner(description, machine, options).plan(budget));
    const number = (lines: readonly string[], pattern: RegExp) => {
      const found = lines.map((line) => pattern.exec(line)?.[1]).find((text) => text !== undefined);
      return Number(assertString(found, `${pattern} in ${lines.join("\n")}`).replaceAll(",", ""));
    };
    const assertString = (text: string | undefined, what: string) => {
      assert.ok(text !== undefined, what);
      return text;
    };
    /** Undefined unless everything is in memory and passes are as large as ever. */
    const resident = (description: ModelDescription, options: PlanOptions, budget: number) => {
      const found = new Planner(description, machine, options).tryPlan(budget);
      return found?.strategy === "resident" && found.maxRows === 512 ? found : undefined;
    };
    for (const [description, budget] of [
      [models.tied, 3 * GiB],
      [models.dense, 30 * GiB],
      [models.windows, 6 * GiB],
      [models.moe, 24 * GiB],
    ] as const) {
      const options: PlanOptions = { contextTokens: 4096 };
      assert.ok(resident(description, options, budget));
      const lines = advised(description, options, budget);
      // Each line is what planning with it says, and a step more is too much.
      const context = number(lines, /^`--ctx \d+`: a context of ([\d,]+) tokens still fits/);
      assert.ok(resident(description, { contextTokens: context }, budget));
      if (context < description.config.contextTokens)
        assert.equal(resident(description, { contextTokens: context + 512 }, budget), undefined);
      const sequences = number(lines, /^`serve --parallel \d+`: (\d+) conversations at once/);
      assert.equal(resident(description, { ...options, sequences }, budget)!.kvTokens, sequences * 4096);
      const more = resident(description, { ...options, sequences: sequences + 1 }, budget);
      assert.ok(sequences === 64 || more === undefined || more.kvTokens < (sequences + 1) * 4096);
    }
    const q4 = advised(models.tied, { contextTokens: 4096 }, 3 * GiB);
    assert.match(
      q4.join("\n"),
      /^the same model in Q8_0 \(1\.2 GiB of weights\) still fits, at about \d+\.\d tokens\/s$/m,
    );
    const size = number(q4, /a model of about ([\d.]+) GiB of weights still fits/);
    // One that is larger by a dimension still fits while it is below that size.
    for (const layers of [24, 32, 40, 48]) {
      const larger = new Planner(model(`llama-1b,layers=${layers}`), machine, { contextTokens: 4096 });
      const { trunkBytes } = larger.model;
      if (trunkBytes < size * GiB) assert.equal(larger.tryPlan(3 * GiB)?.strategy, "resident", `${layers} layers`);
      if (trunkBytes > 1.3 * size * GiB) assert.notEqual(larger.tryPlan(3 * GiB)?.strategy, "resident");
    }

    // Nothing larger fits into a budget that is just enough.
    const exact = new Planner(models.tied, machine).residentBudgetBytes(4096);
    assert.deepEqual(advised(models.tied, { contextTokens: 4096 }, exact), [
      "a context longer than 4,096 tokens would push weights out of memory",
    ]);
  });
});
