/**
 * Layouts of several planes: in the order of rows (tiles of some rows) and of inputs (tiles of some inputs of all
 * rows). Within the declared error of their values, and the same bits mapped, pinned, streamed in tiles of any size, in
 * expert slots, with few and with many rows, on every number of threads and instruction set.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { slicesOf } from "../../src/formats/layouts.js";
import { planeLayouts } from "../../src/formats/plane-layouts.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { Ops } from "../../src/ops/ops.js";
import type { WeightPlacement } from "../../src/ops/placement.js";
import { ReferenceOps } from "../../src/ops/reference.js";
import { expertPolicy } from "../../src/weights/plan-experts.js";
import { inOtherOrder, type PlaneWeights, placedInTiles, planeWeights } from "../support/plane-weights.js";
import { filled, product, randomValues } from "./fixture.js";

const status = addonStatus();
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
if (skip) console.error(`planes: ${skip}`);
/** AVX-VNNI has the kernels of AVX2 for these. */
const isas = (status.isas ?? []).filter((name) => name !== "avxvnni");

const folder = mkdtempSync(join(tmpdir(), "hundredweight-planes-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newPath = () => join(folder, String(files++));

const bitsOf = (values: Float32Array) => new Uint32Array(values.slice().buffer);

const [rows, cols] = [64, 384];

interface Way {
  readonly isa: string;
  readonly threads: number;
  readonly placement?: WeightPlacement;
}

/** Two products of one weight, plain and added to what is there, for each number of rows. */
async function products(ops: Ops, weights: Pick<PlaneWeights, "source">, counts: readonly number[]) {
  const { cols } = weights.source;
  const most = Math.max(...counts);
  const weight = ops.matrix(weights.source);
  const x = filled(ops, most, cols, randomValues(most * cols, 5));
  const bias = ops.vector(randomValues(rows, 6));
  const start = randomValues(most * rows, 7);
  const [out, added] = [ops.tensor(most, rows), ops.tensor(most, rows)];
  await ops.seal();
  const results: Float32Array[] = [];
  for (const n of counts) {
    ops.write(added, start);
    ops.matmul([{ out, weight, bias, add: false }], x, n);
    ops.matmul([{ out: added, weight, bias: null, add: true }], x, n);
    results.push((await ops.read(out, n)).slice(), (await ops.read(added, n)).slice());
  }
  ops.close();
  return results;
}

const counts = [1, 3, 20];

/** Layouts whose cells are alike but for their order. */
const inputsOf: Readonly<Record<string, string>> = { PACKED4_G64_ASYM: "GPTQ4_G64_V2" };

for (const layout of planeLayouts)
  describe(layout.name, () => {
    test("products are within the bound of their values", async () => {
      const weights = planeWeights(newPath(), layout, { rows, cols }, 3);
      const implementations = [new ReferenceOps(), ...(skip === false ? [createOps({ kind: "native" })] : [])];
      for (const ops of implementations) {
        const { name } = ops;
        const [plain] = await products(ops, weights, [3]);
        const [x, bias] = [randomValues(3 * cols, 5), randomValues(rows, 6)];
        for (let t = 0; t < 3; t++)
          for (let r = 0; r < rows; r++) {
            const { value, bound } = product(weights, 0, r, x.subarray(t * cols, (t + 1) * cols));
            const error = Math.abs(plain![t * rows + r]! - bias[r]! - value);
            assert.ok(error <= bound + 2 ** -22, `${name}: row ${r} of ${t} is off by ${error}, allowed ${bound}`);
          }
      }
    });

    test("the same bits wherever the weight lies", { skip }, async () => {
      const weights = planeWeights(newPath(), layout, { rows, cols }, 4);
      const { source } = weights;
      const { count } = slicesOf(layout, rows, cols);
      const expected = await products(createOps({ kind: "native", isa: "scalar", threads: 1 }), weights, counts);
      const placements: (WeightPlacement | undefined)[] = [undefined, placedInTiles(source, count, 1)];
      for (const [pinned, tile] of [
        [0, 1],
        [0, 3],
        [1, 2],
        [1, count],
        [count - 1, 1],
      ] as const)
        placements.push(placedInTiles(source, pinned, tile));
      // Plain loops take their time: they are asked once more for the least tiles.
      for (const isa of isas)
        for (const [i, placement] of (isa === "scalar" ? placements.slice(2, 3) : placements).entries()) {
          const way: Way = { isa, threads: 1 + (i % 3), ...(placement && { placement }) };
          const got = await products(createOps({ kind: "native", ...way }), weights, counts);
          for (const [k, values] of got.entries())
            assert.deepEqual(bitsOf(values), bitsOf(expected[k]!), `${isa}, placement ${i}, result ${k}`);
        }
    });

    const other = planeLayouts.find(({ name }) => name === inputsOf[layout.name]);
    if (other !== undefined)
      test("the same bits when the same numbers lie in the order of inputs", { skip }, async () => {
        const weights = planeWeights(newPath(), layout, { rows, cols }, 5);
        const source = inOtherOrder(weights, other, newPath());
        for (const isa of isas) {
          const expected = await products(createOps({ kind: "native", isa }), weights, counts);
          const placement = placedInTiles(source, 1, 2);
          for (const way of [{}, { placement }]) {
            const ops = createOps({ kind: "native", isa, ...way });
            const got = await products(ops, { source }, counts);
            for (const [k, values] of got.entries())
              assert.deepEqual(bitsOf(values), bitsOf(expected[k]!), `${isa} ${k}`);
          }
        }
      });

    test("the same bits mapped, pinned and in expert slots, of one file or scattered", { skip }, async () => {
      const [dim, hidden, experts, topK] = [256, 128, 5, 3];
      const shapes = [
        { rows: hidden, cols: dim },
        { rows: hidden, cols: dim },
        { rows: dim, cols: hidden },
      ];
      const stacksOf = (scattered: boolean) =>
        shapes.map((shape, i) => planeWeights(newPath(), layout, { ...shape, experts, scattered }, 10 + i));
      const [together, apart] = [stacksOf(false), stacksOf(true)];
      const run = async (n: number, scattered: boolean, placement: "mapped" | "pinned" | "slots", isa: string) => {
        const stacks = scattered ? apart : together;
        const names = stacks.map(({ source }) => source.name);
        const pins = new Map(stacks.map(({ source: s }) => [s.name, slicesOf(layout, s.rows, s.cols).count]));
        const base = { io: "direct", packed: true, tiles: [], ringBytes: 0, lock: false } as const;
        const where: WeightPlacement | undefined =
          placement === "mapped"
            ? undefined
            : placement === "pinned"
              ? { ...base, pinned: pins, experts: undefined }
              : {
                  ...base,
                  pinned: new Map(),
                  experts: {
                    groups: [names],
                    classes: [{ slots: 2, groups: [0] }],
                    stagingBytes: 0,
                    policy: expertPolicy,
                  },
                };
        const ops = createOps({ kind: "native", isa, threads: 2, ...(where && { placement: where }) });
        const [gate, up, down] = stacks.map(({ source }) => ops.matrix(source));
        const x = filled(ops, n, dim, randomValues(n * dim, 14));
        const logits = filled(ops, n, experts, randomValues(n * experts, 15, 2));
        const routing = ops.routing(n, topK);
        const out = ops.tensor(n, dim);
        await ops.seal();
        ops.route(routing, logits, n, { topK, score: "softmax", renormalize: true, scale: 1, selectionBias: null });
        const none = { gateBias: null, upBias: null, downBias: null };
        ops.experts(out, x, routing, n, { gate: gate!, up: up!, down: down!, ...none }, "silu");
        const got = bitsOf(await ops.read(out, n));
        ops.close();
        return got;
      };
      for (const n of [1, 12]) {
        const expected = await run(n, false, "mapped", "scalar");
        for (const isa of isas.filter((name) => name !== "scalar"))
          for (const scattered of [false, true])
            for (const placement of ["mapped", "pinned", "slots"] as const)
              assert.deepEqual(await run(n, scattered, placement, isa), expected, `${isa} ${placement} ${scattered}`);
      }
    });
  });

for (const layout of planeLayouts.filter(({ form }) => form?.codes === "e4m3"))
  test(`${layout.name}: a code that is no number is none in its row alone, with the same bits`, { skip }, async () => {
    const cols = 416;
    const weights = planeWeights(newPath(), layout, { rows, cols }, 6);
    const { file, offset } = weights.source.planes.values![0]!;
    const bytes = readFileSync(file);
    // In both halves of a line of 64, and behind the last whole one.
    const bad = [
      [1, 5, 127],
      [2, 40, 255],
      [3, 400, 127],
    ] as const;
    for (const [row, input, code] of bad) bytes[offset + row * cols + input] = code;
    writeFileSync(file, bytes);
    const expected = await products(createOps({ kind: "native", isa: "scalar", threads: 1 }), weights, counts);
    assert.deepEqual([...expected[0]!.slice(0, 5)].map(Number.isNaN), [false, true, true, true, false]);
    for (const isa of isas) {
      const got = await products(createOps({ kind: "native", isa }), weights, counts);
      for (const [k, values] of got.entries()) assert.deepEqual(bitsOf(values), bitsOf(expected[k]!), `${isa} ${k}`);
    }
  });

test("an index that names a group which is not there is refused", async () => {
  for (const layout of planeLayouts.filter(({ planes }) => planes.some(({ name }) => name === "index"))) {
    const weights = planeWeights(newPath(), layout, { rows, cols }, 6);
    const { file, offset } = weights.source.planes.index![0]!;
    const bytes = readFileSync(file);
    bytes.writeUInt32LE(cols / layout.planes[1]!.cols, offset + 4 * 300);
    writeFileSync(file, bytes);
    const native = () => createOps({ kind: "native", placement: placedInTiles(weights.source, 0, 2) });
    const ways = [() => new ReferenceOps(), ...(skip === false ? [() => createOps({ kind: "native" }), native] : [])];
    for (const open of ways) await assert.rejects(products(open(), weights, [1]), { code: "MODEL_INVALID" });
  }
});
