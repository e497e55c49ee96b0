import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { describeModel } from "../models/index.js";
import { parseSpec } from "../synth/presets.js";
import { layOutSynth, synthCheckpoint } from "../synth/synth.js";
import type { DiskTable } from "./disk-rates.js";
import type { MachineProfile } from "./machine.js";
import { Planner, type PlanOptions } from "./plan.js";
import { planModel } from "./plan-model.js";
import { pipelineSeconds } from "./plan-pipeline.js";
import { placeTrunk } from "./plan-place.js";
import { makeRing } from "./plan-tiles.js";
import { openResidency } from "./residency.js";

const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** A disk as a virtual machine sees it: few small reads leave it idle. */
const diskTable: DiskTable = {
  requestBytes: [MiB / 4, MiB, 4 * MiB],
  depths: [1, 2, 4, 8, 16, 32],
  bytesPerSecond: [
    [0.6e9, 1.1e9, 1.6e9, 2.2e9, 2.4e9, 2.4e9],
    [1.1e9, 1.8e9, 2.3e9, 2.5e9, 2.5e9, 2.5e9],
    [1.6e9, 2.2e9, 2.5e9, 2.6e9, 2.6e9, 2.6e9],
  ],
};
const machine: MachineProfile = {
  memoryLimitBytes: 32 * GiB,
  availableBytes: 30 * GiB,
  memoryReadBytesPerSecond: 33e9,
  diskReadBytesPerSecond: 2.6e9,
  diskFirstTouchBytesPerSecond: 1.3e9,
  diskTable,
  gemmOpsPerSecond: 540e9,
  threads: 2,
};
const model = (name: string) => {
  const { shape } = parseSpec(name);
  return describeModel(synthCheckpoint(layOutSynth(name, shape, "Q4_K_M")));
};
const models = { "llama-3-8b": model("llama-3-8b"), "qwen2.5-32b": model("qwen2.5-32b") };
const plan = (name: keyof typeof models, budget: number, options: PlanOptions = {}) =>
  new Planner(models[name], machine, options).plan(budget);

describe("following a pass", () => {
  const { trunk, trunkBytes } = planModel(models["llama-3-8b"]);
  const pass = (streamed: number, ringBytes: number, tileBytes: number, D: number, M: number) => {
    const ring = makeRing(ringBytes, 16384, tileBytes, { diskReadBytesPerSecond: 1 });
    const pinned = placeTrunk(trunk, trunkBytes - streamed);
    // Every read at the same rate: what is lost then is lost to waiting.
    const disk = { diskReadBytesPerSecond: D, diskTable: { requestBytes: [1], depths: [1], bytesPerSecond: [[1]] } };
    const byteSeconds = { pinnedByteSeconds: 1 / M, streamedByteSeconds: 1 / M, layerSeconds: 0 };
    return pipelineSeconds({ trunk, pinned, ring, disk, ...byteSeconds });
  };

  test("without anything streamed it is the product's time", () => {
    assert.ok(Math.abs(pass(0, 64 * MiB, 4 * MiB, 1e9, 30e9) / (trunkBytes / 30e9) - 1) < 1e-6);
  });

  test("where the disk decides it is the disk's time, where products decide theirs and a little a tile", () => {
    for (const ring of [8, 32, 64]) {
      const disk = pass(3e9, ring * MiB, MiB, 1e9, 30e9);
      assert.ok(disk >= 3 * (1 - 1e-6) && disk < 3 * 1.02, `${ring} MiB: ${disk}`);
      const compute = pass(0.1e9, ring * MiB, MiB / 4, 2e9, 30e9) / (trunkBytes / 30e9);
      assert.ok(compute >= 1 && compute < 1.1, `${ring} MiB: ${compute}`);
    }
  });

  test("a reader on the processors of the products delays them, but for the time in which they wait", () => {
    const ring = makeRing(32 * MiB, 16384, MiB, { diskReadBytesPerSecond: 1 });
    const disk = { diskReadBytesPerSecond: 2e9, diskTable: { requestBytes: [1], depths: [1], bytesPerSecond: [[1]] } };
    const seconds = (streamed: number, readByteSeconds: number) => {
      const pinned = placeTrunk(trunk, trunkBytes - streamed);
      const byteSeconds = { pinnedByteSeconds: 1 / 30e9, streamedByteSeconds: 1 / 30e9, layerSeconds: 0 };
      return pipelineSeconds({ trunk, pinned, ring, disk, ...byteSeconds, readByteSeconds });
    };
    const delayed = seconds(0.2e9, 0.125e-9) - seconds(0.2e9, 0);
    assert.ok(delayed > 0.7 * 0.2 * 0.125 && delayed < 1.1 * 0.2 * 0.125, `products decide: ${delayed}`);
    const hidden = seconds(3e9, 0.125e-9) / seconds(3e9, 0);
    assert.ok(hidden < 1.02, `the disk decides: ${hidden}`);
  });

  test("a ring that holds less than a call streams makes it wait, though disk and products could overlap", () => {
    // 0.22 GB at 2 GB/s are 0.11 s, products take 0.15 s.
    const [small, large] = [1, 8].map((n) => pass(0.22e9, n * MiB, MiB / 4, 2e9, 30e9)) as [number, number];
    assert.ok(large < 1.15 * (trunkBytes / 30e9), `${large}`);
    assert.ok(small > 1.25 * large, `${small} and ${large}`);
  });
});

describe("close to the size of the file", () => {
  // The issue's own points: planned 146 ms with a ring of 1 MiB and measured 280 to 390; 8 MiB took 146 to 170.
  test("8B in 4.87 GiB: the ring is more than four small tiles; a small ring is predicted as slow as it is", () => {
    const budget = 4.87 * GiB;
    const chosen = plan("llama-3-8b", budget);
    assert.equal(chosen.strategy, "streamed");
    assert.ok(chosen.ring.bytes >= 4 * MiB, `${chosen.ring.bytes}`);
    const least = plan("llama-3-8b", budget, { ringBytes: MiB }).prediction.secondsPerToken;
    const eight = plan("llama-3-8b", budget, { ringBytes: 8 * MiB }).prediction.secondsPerToken;
    assert.ok(least > 1.3 * eight, `${least} and ${eight}`);
    // A smaller ring has to gain 3 %.
    assert.ok(chosen.prediction.secondsPerToken <= 1.03 * eight);
    assert.ok(chosen.prediction.secondsPerToken < 1.1 * chosen.prediction.computeSeconds);
  });

  test("32B in 18 GiB: reads and products take as long, and the ring is large enough for both to go on", () => {
    const chosen = plan("qwen2.5-32b", 18 * GiB);
    const { streamedBytesPerPass, computeSeconds, secondsPerToken } = chosen.prediction;
    const limit = Math.max(streamedBytesPerPass / machine.diskReadBytesPerSecond, computeSeconds);
    assert.ok(secondsPerToken < 1.15 * limit, `${secondsPerToken} of ${limit}`);
    const sixteen = plan("qwen2.5-32b", 18 * GiB, { ringBytes: 4 * MiB }).prediction.secondsPerToken;
    assert.ok(sixteen > 1.1 * secondsPerToken, `${sixteen} and ${secondsPerToken}`);
  });

  for (const name of ["llama-3-8b", "qwen2.5-32b"] as const)
    test(`${name}: no cliff in any plan from 115 % to 30 % of the file`, () => {
      const { trunkBytes } = planModel(models[name]);
      let before = 0;
      for (const percent of [115, 110, 106, 103, 100, 97, 95, 90, 75, 50, 30]) {
        const { prediction, ring } = plan(name, (trunkBytes * percent) / 100, { contextTokens: 512 });
        const { streamedBytesPerPass, computeSeconds, secondsPerToken } = prediction;
        const limit = Math.max(streamedBytesPerPass / machine.diskReadBytesPerSecond, computeSeconds);
        assert.ok(secondsPerToken <= 1.15 * limit, `${percent} %: ${secondsPerToken} of ${limit}, ring ${ring.bytes}`);
        assert.ok(secondsPerToken >= 0.999 * before, `${percent} %`);
        before = secondsPerToken;
      }
    });

  test("a disk that wants many small reads gets tiles and a depth it is fast with", () => {
    const flash: DiskTable = {
      ...diskTable,
      bytesPerSecond: [
        [0.2e9, 0.4e9, 0.8e9, 1.6e9, 2.6e9, 2.6e9],
        [0.2e9, 0.4e9, 0.8e9, 1.0e9, 1.0e9, 1.0e9],
        [0.2e9, 0.4e9, 0.8e9, 1.0e9, 1.0e9, 1.0e9],
      ],
    };
    const planner = new Planner(models["llama-3-8b"], { ...machine, diskTable: flash });
    const found = planner.plan(3 * GiB);
    const { ring } = found;
    assert.ok(ring.slotBytes <= MiB / 2 && ring.depth >= 12 && ring.depth < ring.slots, JSON.stringify(ring));
    // The reader keeps that many in flight, whatever the probe's fastest way was.
    const way = { mode: "direct", engine: "threads", depth: 2, requestBytes: 4 * MiB } as const;
    const { placement } = openResidency(planner.model, found, { io: "direct", way });
    assert.deepEqual([placement?.depth, placement?.engine], [ring.depth, "threads"]);
  });
});
