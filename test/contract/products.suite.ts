/** Contract of products that gate and products by heads: bit for bit what single verbs make of the same. */
import assert from "node:assert/strict";
import type { Glu, Ops } from "../../src/ops/ops.js";
import { filled, near, randomValues, type Weights } from "./fixture.js";

const types = ["F32", "F16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"] as const;
const counts = [1, 5, 40];

export function productsSuite(
  weights: (dtype: string, rows: number, cols: number) => Weights,
  withOps: (title: string, body: (ops: Ops) => void | Promise<void>) => void,
): void {
  const read = async (ops: Ops, x: Parameters<Ops["read"]>[0], n: number) => (await ops.read(x, n)).slice();

  for (const [i, type] of types.entries()) {
    const act: Glu = (["silu", "gelu-tanh", "oai"] as const)[i % 3]!;
    withOps(`a product gated by the one before: ${type}, ${act}`, async (ops) => {
      const [cols, rows] = [256, 150];
      const [gate, up] = [ops.matrix(weights(type, rows, cols).source), ops.matrix(weights(type, rows, cols).source)];
      const x = filled(ops, 40, cols, randomValues(40 * cols, 3));
      const bias = ops.vector(randomValues(rows, 4));
      const [a, b, out] = [ops.tensor(40, rows), ops.tensor(40, rows), ops.tensor(40, rows)];
      await ops.seal();
      for (const n of counts) {
        ops.matmul(
          [
            { out: a, weight: gate, bias, add: false },
            { out: b, weight: up, bias: null, add: false },
          ],
          x,
          n,
        );
        ops.glu(a, a, b, n, act);
        const gated = { out, weight: up, bias: null, add: false, glu: act };
        ops.matmul([{ out, weight: gate, bias, add: false }, gated], x, n);
        const [want, got] = [await read(ops, a, n), await read(ops, out, n)];
        // The reference rounds what it gates in one place and not in the other.
        if (ops.name === "reference")
          for (const [j, v] of want.entries()) near(got[j]!, v, 1e-5 * (1 + Math.abs(v)), `${j}`);
        else assert.deepEqual(got, want, `${n} rows`);
      }
    });

    withOps(`products by heads: ${type}`, async (ops) => {
      const [heads, each, cols] = [3, 40, 256];
      const { source } = weights(type, heads * each, cols);
      const weight = ops.matrix({ ...source, heads });
      // The heads as matrices of their own: a third of the bytes each.
      const extent = source.planes.blocks![0]!;
      const bytes = extent.bytes / heads;
      const parts = Array.from({ length: heads }, (_, h) => {
        const blocks = [{ ...extent, offset: extent.offset + h * bytes, bytes }];
        return ops.matrix({ ...source, name: `head ${h}`, rows: each, planes: { blocks } });
      });
      const [wide, narrow] = [randomValues(40 * heads * cols, 6), randomValues(40 * heads * each, 7)];
      const [x, xT] = [filled(ops, 40, heads * cols, wide), filled(ops, 40, heads * each, narrow)];
      const [one, oneT] = [ops.tensor(40, cols), ops.tensor(40, each)];
      const [out, outT] = [ops.tensor(40, heads * each), ops.tensor(40, heads * cols)];
      const [part, partT] = [ops.tensor(40, each), ops.tensor(40, cols)];
      await ops.seal();
      for (const n of counts) {
        ops.matmul([{ out, weight, bias: null, add: false, heads }], x, n);
        ops.matmul([{ out: outT, weight, bias: null, add: false, transposed: true, heads }], xT, n);
        for (const [h, own] of parts.entries()) {
          ops.columns(one, 0, x, h * cols, cols, n);
          ops.columns(oneT, 0, xT, h * each, each, n);
          ops.matmul([{ out: part, weight: own, bias: null, add: false }], one, n);
          ops.matmul([{ out: partT, weight: own, bias: null, add: false, transposed: true }], oneT, n);
          const [got, gotT] = [await read(ops, out, n), await read(ops, outT, n)];
          const [want, wantT] = [await read(ops, part, n), await read(ops, partT, n)];
          for (let t = 0; t < n; t++) {
            const at = (width: number) => (t * heads + h) * width;
            assert.deepEqual(got.slice(at(each), at(each) + each), want.slice(t * each, (t + 1) * each));
            assert.deepEqual(gotT.slice(at(cols), at(cols) + cols), wantT.slice(t * cols, (t + 1) * cols));
          }
        }
      }
      assert.throws(() => ops.matmul([{ out, weight, bias: null, add: false, heads: 7 }], x, 1));
    });
  }
}
