/**
 * linearT, the product along the other axis, for every layout: within the bound of what the bytes mean, and the same
 * bits mapped, pinned, packed and streamed, with few rows and with many, on every instruction set. Rows are added in
 * ascending order with one fma each, which a few lines of this file do too.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { dtypes } from "../../src/formats/dtypes.js";
import { type Layout, slicesOf } from "../../src/formats/layouts.js";
import { planeLayouts } from "../../src/formats/plane-layouts.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops } from "../../src/ops/ops.js";
import type { WeightPlacement } from "../../src/ops/placement.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { placedInTiles, planeWeights } from "../support/plane-weights.js";
import { filled, near, randomValues, type Weights, weightFile } from "./fixture.js";

const status = addonStatus();
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
if (skip) console.error(`linearT: ${skip}`);

const folder = mkdtempSync(join(tmpdir(), "hundredweight-linear-t-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

const layouts: readonly Layout[] = [...dtypes.filter((d) => d.acts !== undefined), ...planeLayouts];
const ulp = 2 ** -23;

/** Words of offsets hold 16 or 32 rows where codes have few bits. */
const tall = ({ planes }: Layout, rows: number): number =>
  planes.some((plane) => plane.rows > 8 && !plane.whole) ? Math.ceil(rows / 32) * 32 : rows;

function weightsOf(layout: Layout, rows: number, cols: number, experts = 1): Weights {
  const path = join(folder, String(files++));
  if (planeLayouts.includes(layout)) return planeWeights(path, layout, { rows, cols, experts }, 8);
  return weightFile(path, layout.name, { rows, cols, experts }, 8);
}

/** Results of products that replace and that are added, for each number of token rows. */
async function run(ops: Ops, { source }: Weights, counts: readonly number[]): Promise<Float32Array[]> {
  const most = Math.max(...counts);
  const [inputs, outputs] = [source.experts * source.rows, source.experts * source.cols];
  const weight = ops.matrix(source);
  const x = filled(ops, most, inputs, randomValues(most * inputs, 9));
  const bias = ops.vector(randomValues(outputs, 10));
  const start = randomValues(most * outputs, 11);
  const [out, added] = [ops.tensor(most, outputs), ops.tensor(most, outputs)];
  await ops.seal();
  const results: Float32Array[] = [];
  for (const n of counts) {
    ops.write(added, start);
    ops.matmul([{ out, weight, bias, add: false, transposed: true }], x, n);
    ops.matmul([{ out: added, weight, bias: null, add: true, transposed: true }], x, n);
    results.push((await ops.read(out, n)).slice(), (await ops.read(added, n)).slice());
  }
  ops.close();
  return results;
}

/** Rounds once: the exact product of two f32 has 48 bits, so only the sum of doubles can err, far below an f32. */
const fma = (a: number, b: number, c: number) => Math.fround(a * b + c);

function checkValues(results: readonly Float32Array[], weights: Weights, n: number): void {
  const { rows, cols, experts } = weights.source;
  const [inputs, outputs] = [experts * rows, experts * cols];
  const [x, bias, start] = [randomValues(n * inputs, 9), randomValues(outputs, 10), randomValues(n * outputs, 11)];
  for (let t = 0; t < n; t++)
    for (let e = 0; e < experts; e++)
      for (let c = 0; c < cols; c++) {
        let [value, magnitude] = [0, 0];
        for (let r = 0; r < rows; r++) {
          const term = x[t * inputs + e * rows + r]! * weights.values[(e * rows + r) * cols + c]!;
          value += term;
          magnitude += Math.abs(term);
        }
        const at = t * outputs + e * cols + c;
        const bound = (rows + 2) * ulp * (magnitude + 4);
        near(results[0]![at]!, value + bias[e * cols + c]!, bound, `output ${at}`);
        near(results[1]![at]!, value + start[at]!, bound, `added output ${at}`);
      }
}

test("native sums are one fma a row, in ascending order", { skip }, async () => {
  const weights = weightsOf(dtypes.find((d) => d.name === "Q8_0")!, 50, 64);
  const [plain] = await run(createOps({ kind: "native" }), weights, [2]);
  const [x, bias] = [randomValues(2 * 50, 9), randomValues(64, 10)];
  for (let t = 0; t < 2; t++)
    for (let c = 0; c < 64; c++) {
      let sum = 0;
      for (let r = 0; r < 50; r++) sum = fma(x[t * 50 + r]!, weights.values[r * 64 + c]!, sum);
      assert.equal(plain![t * 64 + c], Math.fround(sum + bias[c]!), `row ${t}, output ${c}`);
    }
});

for (const layout of layouts)
  describe(layout.name, () => {
    test("values, also of a stack", async () => {
      const native = skip === false ? [() => createOps({ kind: "native" })] : [];
      for (const open of [() => new ReferenceOps(), ...native])
        for (const experts of [1, 3]) {
          const weights = weightsOf(layout, tall(layout, 24), 256, experts);
          checkValues(await run(open(), weights, [2]), weights, 2);
        }
    });

    test("the same bits wherever the weight lies", { skip }, async () => {
      // More columns than one part of a thread has, rows that are not whole strips.
      const weights = weightsOf(layout, tall(layout, 40), 1024);
      const { source } = weights;
      const { count } = slicesOf(layout, source.rows, source.cols);
      const counts = [1, 17];
      const expected = await run(createOps({ kind: "native", isa: "scalar", threads: 1 }), weights, counts);
      const placements: (WeightPlacement | undefined)[] = [undefined, placedInTiles(source, count, 1)];
      for (const pinned of [0, 3 % count])
        for (const tile of [1, 3, count]) placements.push(placedInTiles(source, pinned, tile));
      for (const isa of status.isas ?? [])
        for (const [i, placement] of placements.entries()) {
          const ops = createOps({ kind: "native", isa, threads: 1 + (i % 3), ...(placement && { placement }) });
          for (const [k, values] of (await run(ops, weights, counts)).entries())
            assert.deepEqual(
              new Uint32Array(values.buffer),
              new Uint32Array(expected[k]!.buffer),
              `${isa}, placement ${i}, result ${k}`,
            );
        }
    });
  });
