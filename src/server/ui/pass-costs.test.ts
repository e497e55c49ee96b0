import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineStatus, ModelInfo } from "../../link/protocol.js";
import { PassCostMeter } from "./pass-costs.js";
import { readSeconds } from "./price.js";

const plan = {
  secondsPerToken: 0.1,
  prefillTokensPerSecond: 500,
  promptPassSeconds: 0.6,
  firstPromptPassSeconds: 1.2,
  guessed: false,
};
const info = { chunkRows: 512, residency: { plan } } as unknown as ModelInfo;

let passes = 0;
const pass = (rows: number, elapsedMs: number, stallMs: number): EngineStatus =>
  ({ passes: ++passes, lastPass: { rows, elapsedMs, stallMs } }) as unknown as EngineStatus;
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
  meter.see(pass(100, 1200, 1000));
  const first = meter.costs(info)!;
  assert.equal(first.firstPassSeconds, undefined);
  near(first.rowSeconds, 0.002);
  near(first.passSeconds, 0.6);
  meter.see(pass(100, 700, 500));
  near(meter.costs(info)!.passSeconds, 0.7);
  // 512 rows compute for longer than that: the wait of a short prompt is no price of its rows.
  near(readSeconds(meter.costs(info)!, 512), 1.024);
  meter.see(pass(1, 120, 0));
  near(meter.costs(info)!.oneRowSeconds, 0.12);
  meter.reset();
  assert.deepEqual(meter.costs(info), new PassCostMeter().costs(info));
});

test("where nothing was planned only what was measured is told", () => {
  const meter = new PassCostMeter();
  const unplanned = { chunkRows: 512, residency: {} } as unknown as ModelInfo;
  assert.equal(meter.costs(unplanned), undefined);
  meter.see(pass(1, 100, 0));
  meter.see(pass(64, 640, 0));
  assert.deepEqual(meter.costs(unplanned), {
    chunkRows: 512,
    oneRowSeconds: 0.1,
    rowSeconds: 0.01,
    passSeconds: 0.1,
    guessed: false,
  });
});
