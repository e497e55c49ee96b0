/** Contract of pairs of matrices: what the two products make alone, added with one fma where a row was chosen. */
import assert from "node:assert/strict";
import { closeSync, openSync, readSync } from "node:fs";
import { layoutBytes } from "../../src/formats/layouts.js";
import type { MatrixSource, Ops } from "../../src/ops/ops.js";
import { filled, near, randomValues, type Weights } from "./fixture.js";

/** The same matrix, put together when it is bound. */
export function held(source: MatrixSource): MatrixSource {
  const { file, offset } = source.planes.blocks![0]!;
  const fill = (at: number, into: Uint8Array): void => {
    const fd = openSync(file, "r");
    readSync(fd, into, 0, into.length, offset + at);
    closeSync(fd);
  };
  return { ...source, name: `held ${source.name}`, planes: {}, held: fill };
}

export function lowRankSuite(
  weights: (dtype: string, rows: number, cols: number) => Weights,
  withOps: (title: string, body: (ops: Ops) => void | Promise<void>) => void,
): void {
  const most = 150; // more rows than wait for their place at a time
  const read = async (ops: Ops, x: Parameters<Ops["read"]>[0], n: number) => (await ops.read(x, n)).slice();

  for (const [type, rank] of [
    ["F32", 7],
    ["F16", 16],
    ["BF16", 3],
    ["Q8_0", 32],
  ] as const)
    withOps(`a pair of rank ${rank}: ${type}`, async (ops) => {
      const [cols, rows, first, width] = [256, 90, 5, 101];
      const [a, b] = [weights(type, rank, cols).source, weights(type, rows, rank).source];
      const [low, high] = [ops.matrix(a), ops.matrix(b)];
      const pair = { a: ops.matrix(held(a)), b: ops.matrix(held(b)) };
      const x = filled(ops, most, cols, randomValues(most * cols, 3));
      const before = randomValues(most * width, 4);
      const out = ops.tensor(most, width);
      const [some, between, sums] = [ops.tensor(most, cols), ops.tensor(most, rank), ops.tensor(most, rows)];
      const whole = ops.tensor(most, width);
      await ops.seal();
      for (const n of [1, 2, 17, most])
        for (const chosen of [[0], [n - 1], [...Array(n).keys()].filter((t) => t % 3 !== 1)]) {
          const of = { rows: Int32Array.from(chosen), factors: randomValues(chosen.length, n) };
          ops.write(out, before);
          ops.lowRank(out, first, x, pair, of, n);
          const got = await read(ops, out, most);
          // The chosen rows alone, by single verbs.
          ops.gather(some, x, of.rows);
          ops.matmul([{ out: between, weight: low, bias: null, add: false }], some, chosen.length);
          ops.matmul([{ out: sums, weight: high, bias: null, add: false }], between, chosen.length);
          const added = await read(ops, sums, chosen.length);
          const want = before.slice();
          for (const [i, t] of chosen.entries())
            for (let r = 0; r < rows; r++) {
              const at = t * width + first + r;
              // In double the product is exact: one rounding, as an fma has.
              want[at] = before[at]! + of.factors[i]! * added[i * rows + r]!;
            }
          // The reference keeps what lies between in more digits.
          if (ops.name !== "reference") assert.deepEqual(got, want, `${chosen.length} of ${n} rows`);
          else for (const [i, v] of want.entries()) near(got[i]!, v, 1e-5 * (1 + Math.abs(v)), `${i}`);
        }
      // Without a choice it stands in place of a matrix.
      ops.write(whole, before);
      ops.lowRank(whole, first, x, pair, null, most);
      ops.matmul([{ out: between, weight: low, bias: null, add: false }], x, most);
      ops.matmul([{ out: sums, weight: high, bias: null, add: false }], between, most);
      const [got, made] = [await read(ops, whole, most), await read(ops, sums, most)];
      for (let t = 0; t < most; t++)
        for (let c = 0; c < width; c++) {
          const inside = c >= first && c < first + rows;
          const want = inside ? made[t * rows + c - first]! : before[t * width + c]!;
          near(got[t * width + c]!, want, ops.name === "reference" ? 1e-5 * (1 + Math.abs(want)) : 0, `${t} ${c}`);
        }
      const of = { rows: Int32Array.of(1), factors: Float32Array.of(1) };
      assert.throws(() => ops.lowRank(out, width - rows + 1, x, pair, of, 2));
      assert.throws(() => ops.lowRank(out, 0, x, { a: pair.a, b: pair.a }, of, 2));
      assert.throws(() => ops.lowRank(out, 0, x, { a: pair.b, b: pair.b }, of, 2));
      if (ops.name === "reference") return;
      for (const rows of [[2], [1, 1], [1, 0], [-1]])
        assert.throws(() => {
          const wrong = { rows: Int32Array.from(rows), factors: new Float32Array(rows.length) };
          ops.lowRank(out, 0, x, pair, wrong, 2);
        });
    });

  withOps("a pair that is looked up by token ids", async (ops) => {
    const [vocab, rank, dim] = [40, 6, 64];
    const [a, b] = [weights("F16", vocab, rank).source, weights("F32", dim, rank).source];
    const [table, high] = [ops.matrix(a), ops.matrix(b)];
    const pair = { a: ops.matrix(held(a)), b: ops.matrix(held(b)) };
    const [out, low, sums] = [ops.tensor(4, dim), ops.tensor(4, rank), ops.tensor(4, dim)];
    await ops.seal();
    const ids = Int32Array.of(3, 39, 3, 0);
    const numbers = Int32Array.of(0, 1, 2, 3);
    ops.begin({ count: 4, ids, positions: numbers, sequences: new Int32Array(4), blockTables: [] });
    const before = randomValues(4 * dim, 8);
    ops.write(out, before);
    const factors = Float32Array.of(0.5, -2);
    ops.lowRank(out, 0, null, pair, { rows: Int32Array.of(0, 3), factors }, 4);
    ops.embed(low, table, 4, 1);
    ops.matmul([{ out: sums, weight: high, bias: null, add: false }], low, 4);
    const [got, added] = [await read(ops, out, 4), await read(ops, sums, 4)];
    for (let t = 0; t < 4; t++)
      for (let c = 0; c < dim; c++) {
        const factor = t === 0 ? factors[0]! : t === 3 ? factors[1]! : 0;
        const want = Math.fround(before[t * dim + c]! + factor * added[t * dim + c]!);
        near(got[t * dim + c]!, want, ops.name === "reference" ? 1e-6 : 0, `${t} ${c}`);
      }
  });

  withOps("a matrix that is held is as long as its pieces make it", async (ops) => {
    // More than a mebibyte: it passes in several.
    const [rows, cols] = [300, 1024];
    const { source, values } = weights("F32", rows, cols);
    assert.ok(layoutBytes(source.layout, rows, cols)! > 2 ** 20);
    const matrix = ops.matrix(held(source));
    const out = ops.tensor(1, cols);
    await ops.seal();
    for (const id of [0, 255, 256, 299]) {
      ops.begin({
        count: 1,
        ids: Int32Array.of(id),
        positions: Int32Array.of(0),
        sequences: new Int32Array(1),
        blockTables: [],
      });
      ops.embed(out, matrix, 1, 1);
      assert.deepEqual(await read(ops, out, 1), values.slice(id * cols, (id + 1) * cols));
    }
  });
}
