/** The contract of the verbs of newer layers: values of values, streams, rows of sequences. */
import assert from "node:assert/strict";
import type { Activation, Ops, Tensor } from "../../src/ops/ops.js";
import { actValue, hyperRow, poolRows, scoresOfStreams } from "../../src/ops/reference-values.js";
import { filled, near, randomValues, rowTable, ulp } from "./fixture.js";

type WithOps = (title: string, body: (ops: Ops) => void | Promise<void>) => void;

export function valuesSuite(withOps: WithOps): void {
  const rowsOf = (values: Float32Array, cols: number) => (t: number) => values.subarray(t * cols, (t + 1) * cols);

  withOps("layerNorm, with and without weights, in place", async (ops) => {
    for (const cols of [64, 100]) {
      const [n, x] = [3, randomValues(3 * cols, 1, 4)];
      const [w, b] = [randomValues(cols, 2), randomValues(cols, 3)];
      const expected = (t: number, i: number, weighted: boolean): number => {
        const row = rowsOf(x, cols)(t);
        const mean = row.reduce((sum, v) => sum + v, 0) / cols;
        const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / cols;
        const value = (row[i]! - mean) / Math.sqrt(variance + 1e-5);
        return weighted ? value * w[i]! + b[i]! : value;
      };
      const [input, out] = [filled(ops, n, cols, x), ops.tensor(n, cols)];
      const [weight, bias] = [ops.vector(w), ops.vector(b)];
      ops.layerNorm(out, input, null, null, n, 1e-5);
      const plain = (await ops.read(out, n)).slice();
      ops.layerNorm(input, input, weight, bias, n, 1e-5);
      const weighted = await ops.read(input, n);
      for (let t = 0; t < n; t++)
        for (let i = 0; i < cols; i++) {
          const at = t * cols + i;
          near(plain[at]!, expected(t, i, false), cols * ulp * 8, "plain");
          near(weighted[at]!, expected(t, i, true), cols * ulp * 8 * (1 + Math.abs(w[i]!)), "weighted");
        }
    }
  });

  withOps("activations", async (ops) => {
    const x = Float32Array.from([...randomValues(95, 4, 3), 0, -0, 1e-30, -40, 40]);
    for (const kind of [
      "silu",
      "gelu-tanh",
      "relu",
      "relu2",
      "sigmoid",
      "tanh",
      "exp",
      "softplus",
      "root",
    ] as Activation[]) {
      const tensor = filled(ops, 1, x.length, x);
      ops.act(tensor, kind, 1);
      for (const [i, got] of (await ops.read(tensor, 1)).entries()) {
        const expected = actValue(kind, x[i]!);
        near(
          got,
          expected,
          16 * ulp * Math.abs(expected) + 2e-7 * (kind === "gelu-tanh" ? 1 : 0) + 1e-37,
          `${kind} ${x[i]}`,
        );
      }
    }
  });

  withOps("products of values: by row, by head, by one value, by a vector; columns are exact", async (ops) => {
    const [n, cols] = [3, 48];
    const [y, vector] = [randomValues(n * cols, 5), randomValues(cols, 6)];
    for (const factors of [48, 6, 1]) {
      const x = randomValues(n * factors, 7);
      const [a, b] = [filled(ops, n, cols, y), filled(ops, n, factors, x)];
      ops.multiply(a, b, n);
      const expected = y.map((v, i) => v * x[Math.floor(i / (cols / factors))]!);
      assert.deepEqual(await ops.read(a, n), expected);
    }
    const a = filled(ops, n, cols, y);
    ops.multiplyVector(a, ops.vector(vector), n);
    assert.deepEqual(
      await ops.read(a, n),
      y.map((v, i) => v * vector[i % cols]!),
    );
    ops.addVector(a, ops.vector(vector), n);
    assert.deepEqual(
      await ops.read(a, n),
      y.map((v, i) => Math.fround(v * vector[i % cols]!) + vector[i % cols]!),
    );
    const [from, to] = [filled(ops, n, cols, y), filled(ops, n, 20, new Float32Array(n * 20))];
    ops.columns(to, 3, from, 30, 15, n);
    const moved = new Float32Array(n * 20);
    for (let t = 0; t < n; t++) moved.set(rowsOf(y, cols)(t).subarray(30, 45), t * 20 + 3);
    assert.deepEqual(await ops.read(to, n), moved);
  });

  withOps("streams: weighted sums, scores, weights of hyper-connections", async (ops) => {
    const [n, dim, h] = [3, 40, 4];
    const [a, b] = [randomValues(n * dim, 8), randomValues(n * h * dim, 9)];
    const weights = randomValues(n * 2 * (1 + h), 10);
    const parts: Tensor[] = [filled(ops, n, dim, a), filled(ops, n, h * dim, b)];
    const out = ops.tensor(n, 2 * dim);
    ops.blend(out, parts, filled(ops, n, 2 * (1 + h), weights), 2, n);
    const blended = await ops.read(out, n);
    for (let t = 0; t < n; t++)
      for (let i = 0; i < 2 * dim; i++) {
        const w = weights.subarray((t * 2 + Math.floor(i / dim)) * (1 + h));
        let [sum, size] = [0, 0];
        for (let j = 0; j <= h; j++) {
          const stream = j === 0 ? rowsOf(a, dim)(t) : rowsOf(b, h * dim)(t).subarray((j - 1) * dim);
          sum += w[j]! * stream[i % dim]!;
          size += Math.abs(w[j]! * stream[i % dim]!);
        }
        near(blended[t * 2 * dim + i]!, sum, 8 * ulp * size, "blend");
      }

    const vector = randomValues(dim, 11);
    const scores = ops.tensor(n, 1 + h);
    ops.streamScores(scores, parts, ops.vector(vector), n, 1e-5);
    const found = await ops.read(scores, n);
    for (let t = 0; t < n; t++) {
      const expected = new Float32Array(1 + h);
      scoresOfStreams(expected, [rowsOf(a, dim)(t), rowsOf(b, h * dim)(t)], vector, 1e-5);
      for (let j = 0; j <= h; j++) near(found[t * (1 + h) + j]!, expected[j]!, 1e-5, "score");
    }

    const [x, scale, base] = [randomValues(n * 24, 12), randomValues(3, 13), randomValues(24, 14)];
    const [pre, mix] = [ops.tensor(n, h), ops.tensor(n, h * (1 + h))];
    ops.hyperWeights(pre, mix, filled(ops, n, 24, x), ops.vector(scale), ops.vector(base), n, 5, 1e-6);
    const [read, write] = [(await ops.read(pre, n)).slice(), await ops.read(mix, n)];
    for (let t = 0; t < n; t++) {
      const [p, m] = [new Float32Array(h), new Float32Array(h * (1 + h))];
      hyperRow(p, m, rowsOf(x, 24)(t), scale, base, 5, 1e-6);
      for (let i = 0; i < h; i++) near(read[t * h + i]!, p[i]!, 1e-5, "pre");
      for (let i = 0; i < m.length; i++) near(write[t * m.length + i]!, m[i]!, 1e-5, "mix");
      // Doubly stochastic: what a destination takes of all streams comes to one.
      const row = write.subarray(t * m.length, (t + 1) * m.length);
      for (let d = 0; d < h; d++)
        near(
          row.subarray(d * (1 + h) + 1, (d + 1) * (1 + h)).reduce((s, v) => s + v, 0),
          1,
          1e-4,
          "sum",
        );
    }
  });

  withOps("pooling: a row for each sequence of the pass", async (ops) => {
    const [cols, sequences] = [20, [0, 0, 0, 2, 1, 1]];
    const x = randomValues(sequences.length * cols, 15);
    const [input, out] = [filled(ops, sequences.length, cols, x), ops.tensor(3, cols)];
    ops.begin(rowTable({ pools: 0 }, [0, 1, 2, 5, 0, 1], { sequences }));
    for (const kind of ["mean", "first", "last"] as const) {
      ops.pool(out, input, kind, sequences.length);
      const expected = new Float32Array(3 * cols);
      poolRows(Int32Array.from(sequences), kind, rowsOf(x, cols), (s) => expected.subarray(s * cols, (s + 1) * cols));
      for (const [i, got] of (await ops.read(out, 3)).entries()) near(got, expected[i]!, 8 * ulp * 3, kind);
    }
  });
}
