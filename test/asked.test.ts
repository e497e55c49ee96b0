/** The models people ask about by name: their sizes, and that each has a plan without a file. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AskedModel, asked, askedModel, askedPlan, diskRates, memories } from "./support/asked.js";
import { runCli } from "./support/cli.js";
import { sweep } from "./support/sweeps.js";

describe("models people ask about", () => {
  for (const [name, known] of Object.entries(asked)) {
    const model: AskedModel = askedModel(name);

    test(`${name}: parameters of the card, size of a file within 3 %`, () => {
      const { parameters, tensorBytes } = model.synth;
      assert.ok(Math.abs(parameters / 1e9 - known.parameters) < 0.051, `${parameters / 1e9} billion`);
      if (known.gigabytes !== undefined)
        assert.ok(Math.abs(tensorBytes / 1e9 / known.gigabytes - 1) < 0.03, `${tensorBytes / 1e9} GB`);
    });

    const thinned = sweep(Object.keys(asked), 4).includes(name) ? false : "whole sweeps only: npm run test:sweeps";
    test(`${name}: more memory and a faster disk never make it slower`, { skip: thinned }, () => {
      const planned = new Map<string, number | undefined>();
      const secondsOf = (memory: number, rate: number): number | undefined => {
        const key = `${memory} ${rate}`;
        if (!planned.has(key)) planned.set(key, askedPlan(model, memory, rate)?.prediction.secondsPerToken);
        return planned.get(key);
      };
      for (const rate of diskRates) {
        let before = Number.POSITIVE_INFINITY;
        for (const memory of memories) {
          const seconds = secondsOf(memory, rate) ?? Number.POSITIVE_INFINITY;
          assert.ok(seconds <= before * 1.001, `${memory} GiB at ${rate}: ${seconds} after ${before}`);
          before = seconds;
        }
        assert.ok(before < 10, `${before} s a token in the largest memory`);
      }
      for (const memory of memories) {
        const [slow, fast] = diskRates.map((rate) => secondsOf(memory, rate));
        assert.ok(slow === undefined || fast! <= slow, `${memory} GiB: ${fast} with the faster disk, ${slow}`);
      }
    });
  }

  test("`plan NAME` works without a file", async () => {
    for (const name of sweep(Object.keys(asked), 4)) {
      const { code, out, err } = await runCli(["plan", name, "--memory", "24GiB", "--ctx", "4096", "--no-probe"]);
      assert.equal(code, 0, `${name}: ${err}`);
      assert.match(out, /^decode +[\d.]+ m?s /m, name);
    }
  });
});
