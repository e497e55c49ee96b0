/** The series behind the page's charts and figures. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sample } from "../../src/server/ui/wire.js";
import { about, bytes, duration, figures, parameters, speed } from "../../web/src/format.js";
import { nowOf, seriesOf } from "../../web/src/machine/series.js";

function sample(change: Partial<Omit<Sample, "seen">> & { seen?: Partial<Sample["seen"]> } = {}): Sample {
  const seen = { passes: 0, rows: 0, diskBytes: 0, pinnedBytes: 0, stallMs: 0, computeMs: 0, expertHits: 0 };
  return {
    time: 0,
    seconds: 0.5,
    running: 0,
    waiting: 0,
    kvTokensUsed: 0,
    kvTokens: 100,
    passes: 0,
    generatedTokens: 0,
    promptTokens: 0,
    cachedTokens: 0,
    ...change,
    seen: { ...seen, expertMisses: 0, ...change.seen },
  };
}

test("a slow model: a pass in four samples is drawn as its rate, not as a spike", () => {
  const between = sample({ running: 1 });
  const pass = sample({
    running: 1,
    passes: 1,
    generatedTokens: 1,
    seen: { passes: 1, rows: 1, diskBytes: 400, stallMs: 1500, computeMs: 500 },
  });
  const samples = [sample(), between, between, between, pass, between, between, between, pass, sample()];
  const series = seriesOf(samples);
  assert.deepEqual(series.generated, [null, null, null, null, 0.5, 0.5, 0.5, 0.5, 0.5, null]);
  assert.deepEqual(series.disk, [null, null, null, null, 400, 400, 400, 400, 400, null]);
  assert.deepEqual(series.pass.slice(4, 6), [2000, 2000]);
  assert.deepEqual(
    series.hitRate.filter((value) => value !== null),
    [],
  ); // no experts
  const now = nowOf(samples.slice(0, -1));
  assert.equal(now.tokensPerSecond, 0.5);
  assert.equal(nowOf([...samples.slice(0, -1), between, between]).tokensPerSecond, 0.5);
  assert.equal(now.stallShare, 0.75);
});

test("a fast model: the mean of three seconds; after a pause nothing", () => {
  const busy = sample({ running: 1, passes: 50, generatedTokens: 50, promptTokens: 20, cachedTokens: 10 });
  const { tokensPerSecond, promptPerSecond } = nowOf([sample(), ...Array<Sample>(6).fill(busy)]);
  assert.equal(tokensPerSecond, 100);
  assert.equal(promptPerSecond, 20);
  assert.equal(nowOf([...Array<Sample>(6).fill(busy), ...Array<Sample>(6).fill(sample())]).tokensPerSecond, 0);
  assert.equal(nowOf([]).tokensPerSecond, 0);
});

test("numbers for people", () => {
  assert.deepEqual([0, 1023, 2 ** 20, 1.5 * 2 ** 30, 18.5 * 2 ** 30, 2 ** 50].map(bytes), [
    "0 B",
    "1.00 KiB",
    "1.00 MiB",
    "1.50 GiB",
    "18.5 GiB",
    "1,024 TiB",
  ]);
  assert.deepEqual([0.5, 4.4, 42, 200, 3600, 5400, 8500].map(about), [
    "about a second",
    "about 4 s",
    "about 40 s",
    "about 3 min",
    "about 60 min",
    "about 1 h 30 min",
    "about 2 h 20 min",
  ]);
  assert.deepEqual([0, 0.001, 0.25, 3.159, 12.34, 12345].map(figures), [
    "0",
    "0.001",
    "0.25",
    "3.16",
    "12.3",
    "12,345",
  ]);
  assert.equal(speed(6.18), "6.18 s/token");
  assert.equal(speed(0.02), "50.0 tokens/s");
  assert.deepEqual([135e6, 7.2e9, 671e9].map(parameters), ["135M", "7.2B", "671B"]);
  assert.deepEqual([250, 2500, 300_000].map(duration), ["250 ms", "2.50 s", "5 min"]);
});
