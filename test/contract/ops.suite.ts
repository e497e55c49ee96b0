/**
 * The contract of `Ops`, run on every implementation: each verb on seeded data against a double-precision expectation
 * written here, within the declared error class.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { HundredweightError } from "../../src/errors.js";
import { sliceExtents, slicesOf } from "../../src/formats/layouts.js";
import type { Backend, Glu, RouteSpec } from "../../src/ops/ops.js";
import { WorkingSpace } from "../../src/ops/working-space.js";
import { attentionSuite } from "./attention.suite.js";
import { expertPairsSuite } from "./expert-pairs.suite.js";
import { familiesSuite } from "./families.suite.js";
import {
  computable,
  filled,
  near,
  normals,
  product,
  randomValues,
  rowTable,
  ulp,
  type Weights,
  weightFile,
} from "./fixture.js";
import { lowRankSuite } from "./low-rank.suite.js";
import { productsSuite } from "./products.suite.js";
import { selectionSuite } from "./selection.suite.js";
import { slotsSuite } from "./slots.suite.js";
import { valuesSuite } from "./values.suite.js";

export function opsSuite(name: string, makeOps: () => Backend): void {
  describe(`ops contract: ${name}`, () => {
    let folder = "";
    before(() => {
      folder = mkdtempSync(join(tmpdir(), "hundredweight-ops-"));
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    const withOps = (title: string, body: (ops: Backend) => void | Promise<void>) =>
      test(title, async () => {
        const ops = makeOps();
        try {
          await body(ops);
        } finally {
          ops.close();
        }
      });
    let files = 0;
    const weights = (dtype: string, rows: number, cols: number, experts = 1): Weights =>
      weightFile(join(folder, `${files++}.bin`), dtype, { rows, cols, experts }, files);

    for (const { name: dtype } of computable) {
      withOps(`embed ${dtype} is exact`, async (ops) => {
        const table = weights(dtype, 40, 256);
        const matrix = ops.matrix(table.source);
        const out = ops.tensor(3, 256);
        await ops.seal();
        const ids = [39, 0, 17];
        ops.begin(rowTable({ pools: 0 }, [0, 1, 2], { ids }));
        ops.embed(out, matrix, 3, 1);
        const rows = ids.flatMap((id) => Array.from(table.values.subarray(id * 256, (id + 1) * 256)));
        assert.deepEqual(await ops.read(out, 3), Float32Array.from(rows));
        ops.embed(out, matrix, 3, 7.5);
        for (const [i, v] of (await ops.read(out, 3)).entries())
          near(v, rows[i]! * 7.5, Math.abs(rows[i]! * 7.5) * ulp, `scaled value ${i}`);
        // Rows that are given, and where there is none.
        ops.embed(out, matrix, 3, 1, Int32Array.of(17, -1, 39, 5));
        const [first, , last] = [rows.slice(512), 0, rows.slice(0, 256)];
        const given = Float32Array.from([...first, ...new Array<number>(256).fill(0), ...last]);
        assert.deepEqual(await ops.read(out, 3), given);
      });

      withOps(`matmul ${dtype}: fused products, bias, add, odd sizes`, async (ops) => {
        const [n, cols] = [9, 512];
        const [a, b] = [weights(dtype, 37, cols), weights(dtype, 5, cols)];
        const x = randomValues(n * cols, 3);
        const bias = randomValues(5, 4);
        const start = randomValues(n * 37, 5);
        const [inputs, outA, outB] = [filled(ops, n, cols, x), filled(ops, n, 37, start), ops.tensor(n, 5)];
        const products = [
          { out: outA, weight: ops.matrix(a.source), bias: null, add: true },
          { out: outB, weight: ops.matrix(b.source), bias: ops.vector(bias), add: false },
        ];
        await ops.seal();
        ops.matmul(products, inputs, n);
        const [gotA, gotB] = [await ops.read(outA, n), await ops.read(outB, n)];
        let boundSum = 0;
        let valueSum = 0;
        for (let t = 0; t < n; t++) {
          const row = x.subarray(t * cols, (t + 1) * cols);
          for (let r = 0; r < 37; r++) {
            const { value, bound } = product(a, 0, r, row);
            const expected = value + start[t * 37 + r]!;
            near(gotA[t * 37 + r]!, expected, bound + Math.abs(expected) * ulp, `row ${t}, output ${r}`);
            boundSum += bound;
            valueSum += Math.abs(value);
          }
          for (let r = 0; r < 5; r++) {
            const { value, bound } = product(b, 0, r, row);
            const expected = value + bias[r]!;
            near(gotB[t * 5 + r]!, expected, bound + Math.abs(expected) * ulp, `biased row ${t}, output ${r}`);
          }
        }
        assert.ok(boundSum < 0.5 * valueSum, "the bound must be able to see a wrong row");
      });

      withOps(`matmul ${dtype}: a row gives the same bits alone and among others`, async (ops) => {
        const [cols, rows] = [256, 45];
        const weight = ops.matrix(weights(dtype, rows, cols).source);
        const x = randomValues(65 * cols, 6);
        const input = ops.tensor(65, cols);
        const out = ops.tensor(65, rows);
        await ops.seal();
        const run = async (values: Float32Array) => {
          const n = values.length / cols;
          ops.write(input, values);
          ops.matmul([{ out, weight, bias: null, add: false }], input, n);
          return (await ops.read(out, n)).slice();
        };
        const alone = [];
        for (let t = 0; t < 65; t++) alone.push(await run(x.slice(t * cols, (t + 1) * cols)));
        for (const n of [2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65]) {
          const together = await run(x.slice(0, n * cols));
          for (let t = 0; t < n; t++)
            assert.deepEqual(together.subarray(t * rows, (t + 1) * rows), alone[t], `row ${t} of ${n}`);
        }
      });
    }

    withOps("rmsNorm and headNorm", async (ops) => {
      const [n, cols] = [3, 96];
      const x = randomValues(n * cols, 7, 3);
      const w = randomValues(cols, 8);
      const [input, out] = [filled(ops, n, cols, x), ops.tensor(n, cols)];
      const [weight, headWeight] = [ops.vector(w), ops.vector(w.slice(0, 32))];
      await ops.seal();
      const check = async (tensor: typeof out, width: number, factors: Float32Array | null, eps: number) => {
        for (const [i, got] of (await ops.read(tensor, n)).entries()) {
          const start = i - (i % width);
          let squares = 0;
          for (const v of x.subarray(start, start + width)) squares += v * v;
          const expected = (x[i]! / Math.sqrt(squares / width + eps)) * (factors === null ? 1 : factors[i % width]!);
          near(got, expected, (width + 8) * ulp * Math.abs(expected), `value ${i} of ${width}`);
        }
      };
      ops.rmsNorm(out, input, weight, n, 1e-5);
      await check(out, cols, w, 1e-5);
      ops.rmsNorm(out, input, null, n, 0.5);
      await check(out, cols, null, 0.5);
      ops.headNorm(input, headWeight, n, 3, 32, 1e-6);
      await check(input, 32, w, 1e-6);
      ops.write(input, x);
      ops.rmsNorm(input, input, weight, n, 1e-5);
      await check(input, cols, w, 1e-5);
    });

    for (const interleaved of [true, false])
      withOps(`rope ${interleaved ? "interleaved" : "halved"}, partial, far positions`, async (ops) => {
        const [heads, headDim, dims] = [3, 40, 32];
        const positions = [0, 1, 255, 4096, 130_000];
        const x = randomValues(positions.length * heads * headDim, 9);
        const input = filled(ops, positions.length, heads * headDim, x);
        const frequencies = Float64Array.from({ length: dims / 2 }, (_, i) => 10000 ** ((-2 * i) / dims));
        const table = ops.ropeTable({ dims, frequencies, magnitude: 1.25, interleaved }, positions.length);
        await ops.seal();
        ops.begin(rowTable({ pools: 0 }, positions));
        ops.rope(input, positions.length, heads, headDim, table);
        const got = await ops.read(input, positions.length);
        for (const [t, position] of positions.entries())
          for (let h = 0; h < heads; h++) {
            const at = (t * heads + h) * headDim;
            assert.deepEqual(
              got.slice(at + dims, at + headDim),
              x.slice(at + dims, at + headDim),
              "values beyond dims",
            );
            for (let i = 0; i < dims / 2; i++) {
              const [j, k] = interleaved ? [at + 2 * i, at + 2 * i + 1] : [at + i, at + i + dims / 2];
              const [a, b, angle] = [x[j]!, x[k]!, position * frequencies[i]!];
              const bound = 1.25 * (Math.abs(a) + Math.abs(b)) * 2 * ulp;
              near(got[j]!, 1.25 * (a * Math.cos(angle) - b * Math.sin(angle)), bound, `pair ${i} at ${position}`);
              near(got[k]!, 1.25 * (a * Math.sin(angle) + b * Math.cos(angle)), bound, `pair ${i} at ${position}`);
            }
          }
      });

    const gluFormulas: Record<Extract<Glu, string>, (g: number, u: number) => number> = {
      silu: (g, u) => (g / (1 + Math.exp(-g))) * u,
      "gelu-tanh": (g, u) => 0.5 * g * (1 + Math.tanh(0.7978845608028654 * (g + 0.044715 * g * g * g))) * u,
      oai: (g, u) => {
        const [a, b] = [Math.min(g, 7), Math.max(-7, Math.min(7, u))];
        return (a / (1 + Math.exp(-1.702 * a))) * (b + 1);
      },
    };
    for (const kind of ["silu", "gelu-tanh", "oai"] as const)
      withOps(`glu ${kind}, also in place and saturated`, async (ops) => {
        const [n, cols] = [2, 67];
        const gates = randomValues(n * cols, 10, 4);
        gates.set([0, -0, 100, -100, 88.9, -88.9, 1e-30, 7, -7]);
        const ups = randomValues(n * cols, 11, 4);
        const [gate, up] = [filled(ops, n, cols, gates), filled(ops, n, cols, ups)];
        await ops.seal();
        ops.glu(gate, gate, up, n, kind);
        for (const [i, got] of (await ops.read(gate, n)).entries()) {
          const [g, u] = [gates[i]!, ups[i]!];
          // 1 + tanh cancels for negative gates, so the error is relative to the product and not to the result.
          const scale = kind === "oai" ? Math.min(Math.abs(g), 100) * 8 : Math.abs(g * u);
          near(got, gluFormulas[kind](g, u), 8 * ulp * scale, `act(${g}) * ${u}`);
        }
      });

    const routes: [string, Omit<RouteSpec, "selectionBias"> & { biased?: boolean }][] = [
      ["softmax, renormalised", { topK: 3, score: "softmax", renormalize: true, scale: 1 }],
      ["softmax, scaled", { topK: 3, score: "softmax", renormalize: false, scale: 2.5 }],
      ["sigmoid with selection bias", { topK: 3, score: "sigmoid", renormalize: true, scale: 1, biased: true }],
      ["softmax of the selected", { topK: 3, score: "softmax-selected", renormalize: false, scale: 1 }],
      ["root of softplus", { topK: 3, score: "root-softplus", renormalize: true, scale: 1.5 }],
    ];
    for (const [title, { biased, ...spec }] of routes)
      withOps(`route: ${title}`, async (ops) => {
        const [n, experts] = [9, 11];
        const logits = randomValues(n * experts, 12, 2);
        logits.fill(0.75, 0, experts); // all equal: the lower ids win
        const bias = randomValues(experts, 13);
        if (biased) bias.fill(0, 0, 4);
        const input = filled(ops, n, experts, logits);
        const routing = ops.routing(n, 3);
        const selectionBias = biased ? ops.vector(bias) : null;
        await ops.seal();
        ops.route(routing, input, n, { ...spec, selectionBias });
        const got = ops.readRouting(routing, n);
        for (let t = 0; t < n; t++) {
          const row = Array.from(logits.subarray(t * experts, (t + 1) * experts));
          const total = row.reduce((s, v) => s + Math.exp(v), 0);
          const formulas = {
            softmax: (v: number) => Math.exp(v) / total,
            sigmoid: (v: number) => 1 / (1 + Math.exp(-v)),
            "softmax-selected": (v: number) => v,
            "root-softplus": (v: number) => Math.sqrt(Math.log1p(Math.exp(v))),
          };
          const score = row.map(formulas[spec.score]);
          const order = row.map((_, e) => e);
          order.sort((a, b) => score[b]! + (biased ? bias[b]! - bias[a]! : 0) - score[a]! || a - b);
          const ids = order.slice(0, 3);
          assert.deepEqual(Array.from(got.ids.subarray(t * 3, t * 3 + 3)), ids, `row ${t}`);
          let share = ids.map((e) => (spec.score === "softmax-selected" ? Math.exp(row[e]!) : score[e]!));
          const sum = share.reduce((a, b) => a + b, 0);
          if (spec.renormalize || spec.score === "softmax-selected") share = share.map((s) => s / sum);
          for (const [rank, s] of share.entries())
            near(got.weights[t * 3 + rank]!, s * spec.scale, (experts + 32) * ulp * s * spec.scale, `weight ${rank}`);
        }
      });

    for (const dtype of ["F32", "F16", "Q8_0", "Q4_K", "MXFP4"])
      withOps(`experts ${dtype} are the products of their parts, in rank order`, async (ops) => {
        const [n, dim, hidden, experts, topK] = [13, 256, 256, 5, 3];
        const parts = {
          gate: weights(dtype, hidden, dim, experts),
          up: weights(dtype, hidden, dim, experts),
          down: weights(dtype, dim, hidden, experts),
        };
        const biases = [hidden, hidden, dim].map((rows, i) => randomValues(experts * rows, 20 + i, 0.5));
        const x = filled(ops, n, dim, randomValues(n * dim, 14));
        const logits = filled(ops, n, experts, randomValues(n * experts, 15, 2));
        const routing = ops.routing(n, topK);
        const out = ops.tensor(n, dim);
        const whole = {
          gate: ops.matrix(parts.gate.source),
          up: ops.matrix(parts.up.source),
          down: ops.matrix(parts.down.source),
          gateBias: ops.vector(biases[0]!),
          upBias: ops.vector(biases[1]!),
          downBias: ops.vector(biases[2]!),
        };
        /** One expert as plain matrices: the same bytes at their place in the stack. */
        const single = (w: Weights, bias: Float32Array, e: number) => {
          const { rows, layout, cols } = w.source;
          const whole = sliceExtents(w.source, e, 0, slicesOf(layout, rows, cols).count);
          const planes = Object.fromEntries(layout.planes.map(({ name }, i) => [name, [whole[i]!]]));
          return {
            weight: ops.matrix({ ...w.source, experts: 1, planes }),
            bias: ops.vector(bias.slice(e * rows, (e + 1) * rows)),
            add: false,
          };
        };
        const each = Array.from({ length: experts }, (_, e) => ({
          gate: single(parts.gate, biases[0]!, e),
          up: single(parts.up, biases[1]!, e),
          down: single(parts.down, biases[2]!, e),
        }));
        const [gateOut, upOut, downOut] = [ops.tensor(n, hidden), ops.tensor(n, hidden), ops.tensor(n, dim)];
        await ops.seal();

        ops.route(routing, logits, n, { topK, score: "softmax", renormalize: true, scale: 1, selectionBias: null });
        ops.experts(out, x, routing, n, whole, "oai");
        const got = await ops.read(out, n);
        const downs: Float32Array[] = [];
        for (const { gate, up, down } of each) {
          ops.matmul(
            [
              { ...gate, out: gateOut },
              { ...up, out: upOut },
            ],
            x,
            n,
          );
          ops.glu(gateOut, gateOut, upOut, n, "oai");
          ops.matmul([{ ...down, out: downOut }], gateOut, n);
          downs.push((await ops.read(downOut, n)).slice());
        }
        const { ids, weights: share } = ops.readRouting(routing, n);
        for (let t = 0; t < n; t++)
          for (let i = 0; i < dim; i++) {
            const terms = [0, 1, 2].map((r) => share[t * topK + r]! * downs[ids[t * topK + r]!]![t * dim + i]!);
            const magnitude = terms.reduce((a, b) => a + Math.abs(b), 0);
            near(got[t * dim + i]!, terms[0]! + terms[1]! + terms[2]!, topK * ulp * magnitude, `row ${t}, value ${i}`);
          }
      });

    withOps("add, scale, gather, read and write are exact; softcap", async (ops) => {
      const [n, cols] = [5, 33];
      const [a, b] = [randomValues(n * cols, 16), randomValues(n * cols, 17)];
      const [x, y] = [filled(ops, n, cols, a), filled(ops, n, cols, b)];
      const picked = ops.tensor(2, cols);
      await ops.seal();
      const before = await ops.read(x, n);
      ops.add(x, y, 4);
      assert.deepEqual(
        await ops.read(x, n),
        a.map((v, i) => (i < 4 * cols ? v + b[i]! : v)),
      );
      assert.deepEqual(before.slice(0, cols), a.slice(0, cols), "read gives a copy");
      ops.write(x, a);
      ops.scale(x, 0.3, n);
      assert.deepEqual(
        await ops.read(x, n),
        a.map((v) => v * Math.fround(0.3)),
      );
      ops.gather(picked, y, Int32Array.from([4, 1]));
      assert.deepEqual(
        await ops.read(picked, 2),
        Float32Array.from([...b.subarray(4 * cols, 5 * cols), ...b.subarray(cols, 2 * cols)]),
      );
      ops.write(
        x,
        a.map((v) => v * 40),
      );
      ops.softcap(x, 30, n);
      for (const [i, got] of (await ops.read(x, n)).entries()) {
        const expected = 30 * Math.tanh(Math.fround(a[i]! * 40) / 30);
        near(got, expected, 8 * ulp * Math.abs(expected), `softcap of ${a[i]! * 40}`);
      }
    });

    withOps("tensors in an arena share its memory; verbs refuse what they must not overwrite", async (ops) => {
      const arena = ops.arena(64);
      const [a, b, whole] = [ops.tensor(2, 16, arena), ops.tensor(2, 16, arena, 32), ops.tensor(1, 64, arena)];
      await ops.seal();
      const values = randomValues(64, 41);
      ops.write(whole, values);
      assert.deepEqual(await ops.read(a, 2), values.slice(0, 32));
      assert.deepEqual(await ops.read(b, 2), values.slice(32));
      ops.copy(b, a, 2);
      assert.deepEqual(await ops.read(b, 2), values.slice(0, 32));
    });

    withOps("loadVector reads any type", (ops) => {
      const next = normals(18);
      assert.ok(Number.isFinite(next()));
      for (const { name: dtype } of computable) {
        const { source, values } = weights(dtype, 1, 256);
        assert.deepEqual(ops.loadVector(source), values, dtype);
      }
    });

    withOps("nothing is allocated after seal, and trying to is an error", async (ops) => {
      const weight = ops.matrix(weights("Q8_0", 64, 64).source);
      const [x, y] = [filled(ops, 8, 64, randomValues(512, 19)), ops.tensor(8, 64)];
      const space = new WorkingSpace(8, []);
      space.linear(8, 64, ["q8_32"], "store");
      await ops.seal(space);
      assert.throws(() => ops.tensor(1, 1), HundredweightError);
      const before = ops.counters();
      for (const n of [1, 8, 3]) {
        ops.matmul([{ out: y, weight, bias: null, add: false }], x, n);
        ops.rmsNorm(y, y, null, n, 1e-5);
        ops.add(y, x, n);
        await ops.read(y, n);
      }
      assert.deepEqual(ops.counters(), before);
      assert.ok(before.activationBytes >= 2 * 8 * 64 * 4);
    });

    withOps("a raised cancel flag stops a product", async (ops) => {
      const weight = ops.matrix(weights("F32", 256, 256).source);
      const [x, y] = [filled(ops, 4, 256, randomValues(1024, 21)), ops.tensor(4, 256)];
      await ops.seal();
      const flag = new Int32Array(new SharedArrayBuffer(4));
      ops.setCancelFlag(flag);
      const run = () => ops.matmul([{ out: y, weight, bias: null, add: false }], x, 4);
      run();
      Atomics.store(flag, 0, 1);
      assert.throws(run, (e: unknown) => e instanceof HundredweightError && e.code === "CANCELLED");
      Atomics.store(flag, 0, 0);
      run();
    });

    attentionSuite(withOps);
    productsSuite(weights, withOps);
    lowRankSuite(weights, withOps);
    expertPairsSuite(weights, withOps);
    selectionSuite(withOps);
    valuesSuite(withOps);
    familiesSuite(withOps, weights);
    slotsSuite(withOps);
  });
}
