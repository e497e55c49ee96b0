/** Another implementation against the reference: long rows of every type, and whole models. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { decoders } from "../../src/models/index.js";
import type { Ops } from "../../src/ops/ops.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { evaluate, meanKl, openModel, randomTokens } from "../support/evaluate.js";
import { firstArchitectures } from "../support/random-model.js";
import { activationError, computable, filled, near, randomValues, ulp, weightFile } from "./fixture.js";

/** The reference's results; it is asked once for all implementations. */
const said = new Map<string, Promise<readonly Float32Array[]>>();

function once(key: string, run: () => Promise<readonly Float32Array[]>): Promise<readonly Float32Array[]> {
  const known = said.get(key) ?? run();
  said.set(key, known);
  return known;
}

export function differentialSuite(name: string, makeOps: () => Ops): void {
  describe(`${name} against the reference`, () => {
    let folder = "";
    before(() => {
      folder = mkdtempSync(join(tmpdir(), "hundredweight-differential-"));
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    for (const dtype of computable)
      test(`matmul ${dtype.name}, rows of 4096`, async () => {
        const [n, rows, cols] = [6, 24, 4096];
        const weights = weightFile(join(folder, `${dtype.name}.bin`), dtype.name, { rows, cols }, 40);
        const x = randomValues(n * cols, 41);
        x.fill(0, cols, 2 * cols); // a row of zeros
        for (let i = 2 * cols; i < 3 * cols; i += 97) x[i] = 60; // a row with outliers
        const run = async (ops: Ops) => {
          const [input, out] = [filled(ops, n, cols, x), ops.tensor(n, rows)];
          const product = { out, weight: ops.matrix(weights.source), bias: null, add: false };
          await ops.seal();
          ops.matmul([product], input, n);
          const result = (await ops.read(out, n)).slice();
          ops.close();
          return result;
        };
        const theirs = await run(makeOps());
        const [ours] = (await once(`matmul ${dtype.name}`, async () => [await run(new ReferenceOps())])) as [
          Float32Array,
        ];
        for (let t = 0; t < n; t++) {
          const row = x.subarray(t * cols, (t + 1) * cols);
          const errors = activationError(dtype, row);
          for (let r = 0; r < rows; r++) {
            let bound = 1e-30;
            for (let i = 0; i < cols; i++) {
              const w = Math.abs(weights.values[r * cols + i]!);
              bound += w * errors[i]! + cols * ulp * w * (Math.abs(row[i]!) + errors[i]!);
            }
            near(theirs[t * rows + r]!, ours[t * rows + r]!, bound, `row ${t}, output ${r}`);
          }
        }
      });

    // Dense models: experts chosen at a near tie would say nothing about the arithmetic.
    const dense = decoders.filter(({ tiny }) => tiny.some(({ variant }) => variant === "dense"));
    for (const architecture of dense.filter(({ name }) => firstArchitectures.includes(name)))
      for (const dtype of ["F32", "F16", "BF16"])
        test(`${architecture.name} ${dtype}: KL below 1e-6`, async (t) => {
          const path = join(folder, `${architecture.name}-${dtype}.gguf`);
          const { vocab } = await makeTinyModel(path, architecture.name, { variant: "dense", dtype });
          const ids = randomTokens(40, vocab);
          const run = async (ops: Ops) => {
            const model = await openModel(path, ops);
            const logits = await evaluate(model, ids, 16);
            model.close();
            return logits;
          };
          const ours = await once(`${architecture.name} ${dtype}`, () => run(new ReferenceOps()));
          const kl = meanKl(ours, await run(makeOps()));
          t.diagnostic(`KL ${kl.toExponential(2)}`);
          // Both keep an f16 cache: a value that falls on the other side of an f16 step is off by 2^-11, and random
          // models multiply that by about ten. 1e-6 is a logit error of about 1e-3 at a deviation of 3.
          assert.ok(kl < 1e-6, `KL ${kl}`);
        });
  });
}
