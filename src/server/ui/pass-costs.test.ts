import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineStatus, ModelInfo } from "../../link/protocol.js";
import { computeSeconds } from "../../weights/prompt-seconds.js";
import { PassCostMeter } from "./pass-costs.js";
import { readSeconds } from "./price.js";

const plan = {
  secondsPerToken: 0.1,
  computeSeconds: 0.08,
  promptCompute: {
    passes: [
      { rows: 0, seconds: 0 },
      { rows: 512, seconds: 1.024 },
    ],
    attention: [],
  },
  promptPassSeconds: 0.6,
  firstPromptPassSeconds: 1.2,
  guessed: false,
};
const info = { chunkRows: 512, residency: { plan } } as unknown as ModelInfo;

let passes = 0;
const pass = (rows: number, elapsedMs: number, stallMs: number): EngineStatus =>
  ({ passes: ++passes, lastPass: { position: 0, rows, elapsedMs, stallMs } }) as unknown as EngineStatus;
const near = (found: number, wanted: number): void => assert.ok(Math.abs(found - wanted) < 1e-9, `${found} ${wanted}`);

test("a plan's prompt takes what its rows compute, and at least what each pass reads", () => {
  const { firstPassSeconds, ...costs } = new PassCostMeter().costs(info)!;
  near(readSeconds(costs, 1), 0.1);
  near(readSeconds(costs, 15), 0.1);
  near(readSeconds(costs, 100), 0.6);
  near(readSeconds(costs, 400), 0.8);
  near(readSeconds(costs, 512 + 100), 1.024 + 0.6);
  // What nobody has read before comes slower, once.
  near(readSeconds({ ...costs, firstPassSeconds: firstPassSeconds! }, 512 + 100), 1.2 + 0.6);
});

test("passes teach what a row computes and what reading takes, each by itself", () => {
  const meter = new PassCostMeter();
  // The first one of all: it waits for what was never read before.
  meter.see(pass(100, 1200, 1000), info);
  const first = meter.costs(info)!;
  assert.equal(first.firstPassSeconds, undefined);
  near(computeSeconds(first.compute, 100, 0), 0.2);
  near(first.passSeconds, 0.6);
  meter.see(pass(100, 700, 500), info);
  near(meter.costs(info)!.passSeconds, 0.7);
  // 512 rows compute for longer than that: the wait of a short prompt is no price of its rows.
  near(readSeconds(meter.costs(info)!, 512), 1.024);
  meter.see(pass(1, 120, 0), info);
  near(meter.costs(info)!.oneRowSeconds, 0.12);
  meter.reset();
  assert.deepEqual(meter.costs(info), new PassCostMeter().costs(info));
});

test("where nothing was planned only what was measured is told", () => {
  const meter = new PassCostMeter();
  const unplanned = { chunkRows: 512, residency: {} } as unknown as ModelInfo;
  assert.equal(meter.costs(unplanned), undefined);
  meter.see(pass(1, 100, 0), unplanned);
  near(computeSeconds(meter.costs(unplanned)!.compute, 8, 0), 0.8);
  meter.see(pass(64, 640, 0), unplanned);
  const { compute, ...costs } = meter.costs(unplanned)!;
  assert.deepEqual(costs, { chunkRows: 512, oneRowSeconds: 0.1, passSeconds: 0.1, guessed: false });
  near(computeSeconds(compute, 100, 50), 1);
});

test("what is planned takes longer while others work, what was measured has that in it", () => {
  const meter = new PassCostMeter();
  const busy = meter.costs(info, 3)!;
  near(busy.oneRowSeconds, 0.24);
  near(readSeconds(busy, 512), 3.072);
  near(busy.passSeconds, 0.6);
  meter.see(pass(512, 2048, 0), info);
  near(computeSeconds(meter.costs(info, 3)!.compute, 256, 0), 1.024);
  near(meter.costs(info, 1.1)!.oneRowSeconds, 0.1);
  meter.see(pass(1, 200, 0), info);
  near(meter.costs(info, 3)!.oneRowSeconds, 0.2);
});

test("rows that see more take longer, and a pass behind a past teaches the same", () => {
  const seeing = { passes: plan.promptCompute.passes, attention: [{ window: 0, seconds: 1e-6 }] };
  const far = { chunkRows: 512, residency: { plan: { ...plan, promptCompute: seeing } } } as unknown as ModelInfo;
  const meter = new PassCostMeter();
  const { firstPassSeconds: _, ...costs } = meter.costs(far)!;
  const seen = (512 * 513) / 2;
  near(readSeconds(costs, 512), 1.024 + seen * 1e-6);
  near(readSeconds(costs, 512, 1000), 1.024 + (seen + 512 * 1000) * 1e-6);
  const behind = { position: 1000, rows: 512, elapsedMs: 2000 * (1.024 + (seen + 512 * 1000) * 1e-6), stallMs: 0 };
  meter.see({ passes: ++passes, lastPass: behind } as unknown as EngineStatus, far);
  near(computeSeconds(meter.costs(far)!.compute, 512, 0), 2 * (1.024 + seen * 1e-6));
});
