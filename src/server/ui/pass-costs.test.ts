import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineStatus, ModelInfo } from "../../link/protocol.js";
import { computeSeconds } from "../../weights/prompt-seconds.js";
import { PassCostMeter } from "./pass-costs.js";
import { readSeconds, tokenSeconds } from "./price.js";

const plan = {
  secondsPerToken: 0.1,
  computeSeconds: 0.08,
  streamedBytesPerPass: 1e8,
  tokenCompute: { seconds: 0.08, attention: [] },
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
let answering = { passes: 0, tokens: 0, positions: 0, ms: 0, stallMs: 0 };
const pass = (rows: number, elapsedMs: number, stallMs: number): EngineStatus =>
  ({ passes: ++passes, answering, lastPass: { position: 0, rows, elapsedMs, stallMs } }) as unknown as EngineStatus;
/** One pass of an answer, at a position, which made so many tokens. */
function answered(ms: number, stallMs = 0, tokens = 1, position = 0): EngineStatus {
  answering = {
    passes: answering.passes + 1,
    tokens: answering.tokens + tokens,
    positions: answering.positions + tokens * position,
    ms: answering.ms + ms,
    stallMs: answering.stallMs + stallMs,
  };
  return pass(tokens, ms, stallMs);
}
function newMeter(): PassCostMeter {
  answering = { passes: 0, tokens: 0, positions: 0, ms: 0, stallMs: 0 };
  return new PassCostMeter();
}
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
  const meter = newMeter();
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
  meter.see(answered(120), info);
  near(tokenSeconds(meter.costs(info)!, 0), 0.12);
  meter.reset();
  assert.deepEqual(meter.costs(info), new PassCostMeter().costs(info));
});

test("where nothing was planned only what was measured is told", () => {
  const meter = newMeter();
  const unplanned = { chunkRows: 512, residency: {} } as unknown as ModelInfo;
  assert.equal(meter.costs(unplanned), undefined);
  meter.see(answered(100), unplanned);
  near(computeSeconds(meter.costs(unplanned)!.compute, 8, 0), 0.8);
  meter.see(pass(64, 640, 0), unplanned);
  const { compute, ...costs } = meter.costs(unplanned)!;
  const token = { token: { seconds: 0.1, attention: [] }, leastTokenSeconds: 0, tokenWaitSeconds: 0 };
  assert.deepEqual(costs, { chunkRows: 512, ...token, passSeconds: 0.1, guessed: false });
  near(computeSeconds(compute, 100, 50), 1);
});

test("what is planned takes longer while others work, what was measured has that in it", () => {
  const meter = newMeter();
  const busy = meter.costs(info, { prompt: 3, token: 5 })!;
  near(tokenSeconds(busy, 0), 0.24);
  near(readSeconds(busy, 512), 3.072);
  near(busy.passSeconds, 0.6);
  // Who waits for the disk comes back first; who does not waits for whichever of its threads comes last.
  const inMemory = { ...plan, streamedBytesPerPass: 0, secondsPerToken: 0.08 };
  const resident = { chunkRows: 512, residency: { plan: inMemory } } as unknown as ModelInfo;
  near(tokenSeconds(meter.costs(resident, { prompt: 3, token: 5 })!, 0), 0.4);
  meter.see(pass(512, 2048, 0), info);
  near(computeSeconds(meter.costs(info, { prompt: 3, token: 5 })!.compute, 256, 0), 1.024);
  near(tokenSeconds(meter.costs(info, { prompt: 1.1, token: 1.2 })!, 0), 0.1);
  meter.see(answered(200), info);
  near(tokenSeconds(meter.costs(info, { prompt: 3, token: 5 })!, 0), 0.2);
});

test("rows that see more take longer, and a pass behind a past teaches the same", () => {
  const seeing = { passes: plan.promptCompute.passes, attention: [{ window: 0, seconds: 1e-6 }] };
  const far = { chunkRows: 512, residency: { plan: { ...plan, promptCompute: seeing } } } as unknown as ModelInfo;
  const meter = newMeter();
  const { firstPassSeconds: _, ...costs } = meter.costs(far)!;
  const seen = (512 * 513) / 2;
  near(readSeconds(costs, 512), 1.024 + seen * 1e-6);
  near(readSeconds(costs, 512, 1000), 1.024 + (seen + 512 * 1000) * 1e-6);
  const behind = { position: 1000, rows: 512, elapsedMs: 2000 * (1.024 + (seen + 512 * 1000) * 1e-6), stallMs: 0 };
  meter.see({ passes: ++passes, answering, lastPass: behind } as unknown as EngineStatus, far);
  near(computeSeconds(meter.costs(far)!.compute, 512, 0), 2 * (1.024 + seen * 1e-6));
});

test("a token takes longer the more it sees, planned and measured", () => {
  const tokenCompute = { seconds: 0.08, attention: [{ window: 0, seconds: 1e-5 }] };
  const inMemory = { ...plan, streamedBytesPerPass: 0, secondsPerToken: 0.09, tokenCompute };
  const far = { chunkRows: 512, residency: { plan: inMemory } } as unknown as ModelInfo;
  const meter = newMeter();
  near(tokenSeconds(meter.costs(far)!, 0), 0.08 + 1e-5);
  near(tokenSeconds(meter.costs(far)!, 3999), 0.12);
  // Twice as long as planned behind 3,999 positions, so behind none.
  meter.see(answered(240, 0, 1, 3999), far);
  near(tokenSeconds(meter.costs(far)!, 0), 2 * (0.08 + 1e-5));
});

test("guesses that were right make a token cheaper, and waiting for the disk is not scaled", () => {
  const meter = newMeter();
  meter.see(answered(400, 100, 4), info);
  near(meter.costs(info)!.tokenWaitSeconds, 0.025);
  near(tokenSeconds(meter.costs(info)!, 0), 0.1);
  // All passes count, also those that no status told of: three of 500 ms make 1,900 ms for 7 tokens.
  answered(500);
  answered(500);
  meter.see(answered(500), info);
  // Ten seconds halve it, if those are more than four passes.
  const kept = 0.5 ** (1.5 / 10);
  near(tokenSeconds(meter.costs(info)!, 0), (kept * 0.4 + 1.5) / (kept * 4 + 3));
});
