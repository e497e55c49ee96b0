/** The contract of the verbs that a family or two need: positions, heads, bounds, groups of experts. */
import assert from "node:assert/strict";
import type { Glu, Ops } from "../../src/ops/ops.js";
import { gluValue, routeRow } from "../../src/ops/reference-math.js";
import { layerNormRow, sparsifyRow, xieluValue } from "../../src/ops/reference-values.js";
import { filled, near, randomValues, rowTable, ulp, type Weights } from "./fixture.js";

type WithOps = (title: string, body: (ops: Ops) => void | Promise<void>) => void;

export function familiesSuite(
  withOps: WithOps,
  weights: (dtype: string, rows: number, cols: number, experts?: number) => Weights,
): void {
  const size = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));

  withOps("temper: the factor grows with the logarithm of the position", async (ops) => {
    const positions = [0, 14, 15, 16, 31, 4000];
    const cols = 24;
    const x = randomValues(positions.length * cols, 31);
    const input = filled(ops, positions.length, cols, x);
    ops.begin(rowTable({ pools: 0 }, positions, {}));
    ops.temper(input, { scale: 0.4, length: 16, offset: 1 }, positions.length);
    for (const [i, got] of (await ops.read(input, positions.length)).entries()) {
      const factor = 1 + 0.4 * Math.log(1 + Math.floor((positions[Math.floor(i / cols)]! + 1) / 16));
      near(got, x[i]! * factor, 4 * ulp * Math.abs(x[i]! * factor), `value ${i}`);
    }
  });

  withOps("headDots: one product a head", async (ops) => {
    const [n, heads, dim] = [3, 4, 40];
    const [x, y] = [randomValues(n * heads * dim, 47), randomValues(n * heads * dim, 48)];
    const [a, b] = [filled(ops, n, heads * dim, x), filled(ops, n, heads * dim, y)];
    const [out, odd] = [ops.tensor(n, heads), ops.tensor(n, 7)];
    await ops.seal();
    ops.headDots(out, a, b, n);
    for (const [i, got] of (await ops.read(out, n)).entries()) {
      let [sum, size] = [0, 0];
      for (let d = 0; d < dim; d++) {
        sum += x[i * dim + d]! * y[i * dim + d]!;
        size += Math.abs(x[i * dim + d]! * y[i * dim + d]!);
      }
      near(got, sum, dim * ulp * size, `head ${i}`);
    }
    assert.throws(() => ops.headDots(odd, a, b, n));
  });

  withOps("centreHeads: LayerNorm of each", async (ops) => {
    const [n, heads, headDim] = [3, 3, 40];
    const x = randomValues(n * heads * headDim, 32, 3);
    const input = filled(ops, n, heads * headDim, x);
    ops.centreHeads(input, n, heads, headDim, 1e-5);
    const got = await ops.read(input, n);
    for (let h = 0; h < n * heads; h++) {
      const expected = new Float32Array(headDim);
      layerNormRow(expected, x.subarray(h * headDim, (h + 1) * headDim), null, null, 1e-5);
      for (const [i, v] of expected.entries()) near(got[h * headDim + i]!, v, headDim * ulp * 8, "head");
    }
  });

  withOps("xIELU on both sides of zero", async (ops) => {
    const x = Float32Array.from([...randomValues(95, 33, 3), 0, -0, -1e-7, -100, 30]);
    const numbers = { positive: 0.8, negative: 1.1, linear: 0.5, limit: Math.fround(-1e-6) };
    const input = filled(ops, 1, x.length, x);
    ops.xielu(input, numbers, 1);
    for (const [i, got] of (await ops.read(input, 1)).entries()) {
      const expected = xieluValue(numbers, x[i]!);
      near(got, expected, 8 * ulp * (1e-6 + 2 * Math.abs(x[i]!) + Math.abs(expected)), `${x[i]}`);
    }
  });

  withOps("sparsify keeps what exceeds the mean by deviations; matchSize gives rows a length", async (ops) => {
    const [n, cols] = [3, 100];
    const [x, like] = [randomValues(n * cols, 34, 2), randomValues(n * cols, 35, 5)];
    const [input, model] = [filled(ops, n, cols, x), filled(ops, n, cols, like)];
    ops.sparsify(input, 0.8, n);
    const sparse = (await ops.read(input, n)).slice();
    ops.matchSize(input, model, n);
    const matched = await ops.read(input, n);
    for (let t = 0; t < n; t++) {
      const expected = x.slice(t * cols, (t + 1) * cols);
      sparsifyRow(expected, 0.8);
      assert.ok(expected.some((v) => v === 0) && expected.some((v) => v > 0));
      const row = sparse.subarray(t * cols, (t + 1) * cols);
      for (const [i, v] of expected.entries()) near(row[i]!, v, cols * ulp * 16, "sparse");
      const factor = size(like.subarray(t * cols, (t + 1) * cols)) / size(row);
      for (const [i, v] of row.entries()) near(matched[t * cols + i]!, v * factor, 64 * ulp * v * factor, "matched");
    }
  });

  withOps("multiplyVector repeats a short vector", async (ops) => {
    const x = randomValues(2 * 12, 36);
    for (const length of [1, 4]) {
      const input = filled(ops, 2, 12, x);
      const vector = randomValues(length, 37);
      ops.multiplyVector(input, ops.vector(vector), 2);
      assert.deepEqual(
        await ops.read(input, 2),
        x.map((v, i) => v * vector[i % length]!),
      );
    }
  });

  withOps("bounded SwiGLU: the gate before its SiLU, or after", async (ops) => {
    const [gate, up] = [randomValues(200, 38, 4), randomValues(200, 39, 4)];
    for (const kind of [
      { clamp: "before", limit: 1.5 },
      { clamp: "after", limit: 1.5 },
    ] as Glu[]) {
      const [g, u, out] = [filled(ops, 2, 100, gate), filled(ops, 2, 100, up), ops.tensor(2, 100)];
      ops.glu(out, g, u, 2, kind);
      for (const [i, got] of (await ops.read(out, 2)).entries()) {
        const expected = gluValue(kind, gate[i]!, up[i]!);
        near(got, expected, 16 * ulp * Math.abs(expected) + 1e-37, `value ${i}`);
      }
    }
  });

  withOps("route: groups, and factors of the weights", async (ops) => {
    const [n, experts, topK] = [9, 12, 3];
    const logits = randomValues(n * experts, 40, 2);
    logits.fill(0.75, 0, experts); // all equal: the lower groups and ids win
    const [bias, factors] = [randomValues(experts, 41, 0.3), randomValues(experts, 42)];
    const input = filled(ops, n, experts, logits);
    const routing = ops.routing(n, topK);
    const spec = {
      topK,
      score: "sigmoid",
      renormalize: true,
      scale: 1.5,
      groups: { count: 4, used: 2 },
      selectionBias: ops.vector(bias),
      factors: ops.vector(factors),
    } as const;
    await ops.seal();
    ops.route(routing, input, n, spec);
    const got = ops.readRouting(routing, n);
    let outside = 0;
    for (let t = 0; t < n; t++) {
      const row = logits.subarray(t * experts, (t + 1) * experts);
      const expected = routeRow(row, spec, bias, factors);
      const { groups: _, ...free } = spec;
      if (routeRow(row, free, bias).ids.join() !== expected.ids.join()) outside++;
      assert.deepEqual(Array.from(got.ids.subarray(t * topK, (t + 1) * topK)), expected.ids, `row ${t}`);
      for (const [rank, w] of expected.weights.entries())
        near(got.weights[t * topK + rank]!, w, 64 * ulp * Math.abs(w), `weight ${rank}`);
    }
    assert.ok(outside > 0, "groups never mattered");
  });

  withOps("route: experts that a table has for a token, also where they are not the best", async (ops) => {
    const [experts, topK, tokens] = [6, 2, [3, 0, 2]];
    const listed = [4, 1, 0, 5, 2, 3, 5, 0];
    const logits = randomValues(tokens.length * experts, 45, 2);
    const input = filled(ops, tokens.length, experts, logits);
    const routing = ops.routing(tokens.length, topK);
    const [table, beyond, twice] = [listed, listed.with(1, 6), listed.with(6, 0)].map((ids) =>
      ops.vector(Float32Array.from(ids)),
    );
    const spec = { topK, score: "root-softplus", renormalize: true, scale: 2, selectionBias: null } as const;
    await ops.seal();
    ops.begin({ ...rowTable({ pools: 0 }, [0, 1, 2]), ids: Int32Array.from(tokens) });
    assert.equal(ops.route(routing, input, tokens.length, { ...spec, table: table! }), -1);
    const got = ops.readRouting(routing, tokens.length);
    for (const [t, token] of tokens.entries()) {
      const ids = listed.slice(topK * token, topK * (token + 1));
      const { weights } = routeRow(logits.subarray(t * experts, (t + 1) * experts), spec, null, null, ids);
      assert.deepEqual(Array.from(got.ids.subarray(t * topK, (t + 1) * topK)), ids);
      for (const [rank, w] of weights.entries()) near(got.weights[t * topK + rank]!, w, 64 * ulp * w, `row ${t}`);
    }
    for (const wrong of [beyond, twice]) {
      assert.equal(ops.route(routing, input, tokens.length, { ...spec, table: wrong! }), -2);
      assert.ok(ops.readRouting(routing, tokens.length).ids.every((id) => id >= 0 && id < experts));
    }
  });

  withOps("rope of the last values of a head, and back", async (ops) => {
    const [n, heads, headDim, dims] = [3, 2, 24, 8];
    const x = randomValues(n * heads * headDim, 46);
    const frequencies = Float64Array.from({ length: dims / 2 }, (_, i) => 10 ** -i);
    const common = { dims, magnitude: 1, interleaved: true };
    const tables = [
      ops.ropeTable({ ...common, frequencies, first: headDim - dims }, n),
      ops.ropeTable({ ...common, frequencies: frequencies.map((v) => -v), first: headDim - dims }, n),
      ops.ropeTable({ ...common, frequencies }, n),
    ] as const;
    const [whole, last] = [filled(ops, n, heads * headDim, x), ops.tensor(n, heads * dims)];
    const isLast = (i: number) => i % headDim >= headDim - dims;
    ops.write(
      last,
      x.filter((_, i) => isLast(i)),
    );
    await ops.seal();
    ops.begin(rowTable({ pools: 0 }, [5, 6, 7]));
    ops.rope(whole, n, heads, headDim, tables[0]);
    ops.rope(last, n, heads, dims, tables[2]);
    const turned = (await ops.read(whole, n)).slice();
    assert.deepEqual(
      turned.filter((_, i) => isLast(i)),
      (await ops.read(last, n)).slice(),
    );
    assert.deepEqual(
      turned.filter((_, i) => !isLast(i)),
      x.filter((_, i) => !isLast(i)),
    );
    ops.rope(whole, n, heads, headDim, tables[1]);
    for (const [i, v] of (await ops.read(whole, n)).entries()) near(v, x[i]!, 8 * ulp, `value ${i}`);
  });

  for (const dtype of ["F32", "Q8_0"])
    withOps(`experts ${dtype}: weights may multiply what goes in`, async (ops) => {
      const [n, dim, hidden, experts, topK] = [5, 64, 96, 4, 2];
      const made = (rows: number, cols: number) => ops.matrix(weights(dtype, rows, cols, experts).source);
      const none = { gateBias: null, upBias: null, downBias: null };
      const whole = { gate: made(hidden, dim), up: made(hidden, dim), down: made(dim, hidden), ...none };
      const values = randomValues(n * dim, 43);
      const x = filled(ops, n, dim, values);
      const logits = filled(ops, n, experts, randomValues(n * experts, 44, 2));
      const [routing, single] = [ops.routing(n, topK), ops.routing(1, 1)];
      const [out, one, oneOut] = [ops.tensor(n, dim), ops.tensor(1, dim), ops.tensor(1, dim)];
      const only = ops.tensor(1, experts);
      await ops.seal();
      const spec = { score: "sigmoid", renormalize: false, scale: 1, selectionBias: null } as const;
      ops.route(routing, logits, n, { ...spec, topK });
      ops.experts(out, x, routing, n, { ...whole, weightsInput: true }, "silu");
      const got = (await ops.read(out, n)).slice();
      const { ids, weights: share } = ops.readRouting(routing, n);
      for (let t = 0; t < n; t++) {
        const sums = new Float64Array(dim);
        for (let r = 0; r < topK; r++) {
          // One row of one expert with a weight of one.
          ops.write(
            one,
            values.slice(t * dim, (t + 1) * dim).map((v) => v * share[t * topK + r]!),
          );
          ops.write(
            only,
            new Float32Array(experts).map((_, e) => (e === ids[t * topK + r] ? 50 : -50)),
          );
          ops.route(single, only, 1, { ...spec, topK: 1 });
          ops.experts(oneOut, one, single, 1, whole, "silu");
          for (const [i, v] of (await ops.read(oneOut, 1)).entries()) sums[i]! += v;
        }
        for (let i = 0; i < dim; i++) near(got[t * dim + i]!, sums[i]!, 1e-5 * (1 + Math.abs(sums[i]!)), `row ${t}`);
      }
    });
}
