/** Contract of pairs beside the matrices of experts: what single products and pairs give, expert by expert. */
import assert from "node:assert/strict";
import { layoutBytes } from "../../src/formats/layouts.js";
import type { ExpertPair, ExpertSide, Matrix, MatrixSource, Ops, Tensor } from "../../src/ops/ops.js";
import { filled, near, randomValues, type Weights } from "./fixture.js";
import { held } from "./low-rank.suite.js";

const sides = ["gate", "up", "down"] as const satisfies readonly ExpertSide[];

/** The matrix of one expert of a stack. */
function alone(source: MatrixSource, expert: number): MatrixSource {
  const bytes = layoutBytes(source.layout, source.rows, source.cols)!;
  const { file, offset } = source.planes.blocks![0]!;
  const extent = { file, offset: offset + expert * bytes, bytes };
  return { ...source, name: `${source.name} ${expert}`, experts: 1, planes: { blocks: [extent] } };
}

export function expertPairsSuite(
  weights: (dtype: string, rows: number, cols: number, experts?: number) => Weights,
  withOps: (title: string, body: (ops: Ops) => void | Promise<void>) => void,
): void {
  const [dim, hidden, experts, topK, most] = [64, 96, 5, 3, 90];
  // More rows than a wave of experts has, and more chosen ones than wait for their place at a time.
  for (const [base, types, weightsInput] of [
    ["F32", ["F32", "F16"], false],
    ["Q8_0", ["BF16", "Q8_0"], false],
    ["Q8_0", ["Q8_0", "F32"], true],
  ] as const)
    withOps(`experts ${base} with pairs ${types}${weightsInput ? ", weights on the way in" : ""}`, async (ops) => {
      const shapes = { gate: [hidden, dim], up: [hidden, dim], down: [dim, hidden] } as const;
      const sources = sides.map((side) => weights(base, ...shapes[side], experts).source);
      const stacks = sources.map((source) => ops.matrix(source));
      const pairs = types.flatMap((type, i) =>
        sides.map((side) => {
          const [rows, cols] = shapes[side];
          const rank = type === "Q8_0" ? 32 : 3 + i;
          const halves = [
            weights(type, rank, cols, experts).source,
            weights(type, rows, rank, experts).source,
          ] as const;
          const [a, b] = halves.map((half) => ops.matrix(held(half)));
          return { side, slot: i, halves, pair: { a: a!, b: b! }, rank };
        }),
      );
      const each = Array.from({ length: experts }, (_, e) => ({
        base: sources.map((source) => ops.matrix(alone(source, e))),
        pairs: pairs.map(({ halves }) => halves.map((half) => ops.matrix(alone(half, e)))),
      }));
      const [gate, up, down] = stacks as [(typeof stacks)[0], (typeof stacks)[0], (typeof stacks)[0]];
      const whole = { gate, up, down, gateBias: null, upBias: null, downBias: null, weightsInput };
      const values = randomValues(most * dim, 51);
      const [x, out] = [filled(ops, most, dim, values), ops.tensor(most, dim)];
      const logits = filled(ops, most, experts, randomValues(most * experts, 52, 2));
      const routing = ops.routing(most, topK);
      const single = { x: ops.tensor(most, dim), gate: ops.tensor(most, hidden), up: ops.tensor(most, hidden) };
      const [h, y] = [ops.tensor(most, hidden), ops.tensor(most, dim)];
      await ops.seal();
      const spec = { score: "sigmoid", renormalize: false, scale: 1, selectionBias: null, topK } as const;
      for (const n of [1, 7, most]) {
        // The first adapter is for every third row, the second for all but some.
        const factors = [0, 1].map((slot) =>
          Float32Array.from({ length: n }, (_, t) => (slot === 0 ? (t % 3 === 0 ? 0.75 : 0) : t % 4 === 2 ? 0 : -1.5)),
        );
        ops.route(routing, logits, n, spec);
        const { ids, weights: share } = ops.readRouting(routing, n);
        const given = pairs.map(
          ({ side, pair, slot }): ExpertPair<Matrix> => ({ side, pair, factors: factors[slot]! }),
        );
        ops.experts(out, x, routing, n, whole, "silu", given);
        const got = (await ops.read(out, n)).slice();
        const results = new Float32Array(n * topK * dim);
        for (const [e, own] of each.entries()) {
          const slots = Array.from({ length: n * topK }, (_, slot) => slot).filter((slot) => ids[slot] === e);
          if (slots.length === 0) continue;
          const rows = slots.map((slot) => Math.floor(slot / topK));
          const scale = (slot: number) => (weightsInput ? share[slot]! : 1);
          const input = slots.flatMap((slot, i) =>
            [...values.subarray(rows[i]! * dim, (rows[i]! + 1) * dim)].map((v) => Math.fround(v * scale(slot))),
          );
          ops.write(single.x, Float32Array.from(input));
          const multiply = (side: number, from: Tensor, to: Tensor) => {
            ops.matmul([{ out: to, weight: own.base[side]!, bias: null, add: false }], from, slots.length);
            for (const [p, { side: beside, slot }] of pairs.entries()) {
              const chosen = [...rows.keys()].filter((i) => factors[slot]![rows[i]!] !== 0);
              if (sides[side] !== beside || chosen.length === 0) continue;
              const [a, b] = own.pairs[p]!;
              const of = {
                rows: Int32Array.from(chosen),
                factors: Float32Array.from(chosen, (i) => factors[slot]![rows[i]!]!),
              };
              ops.lowRank(to, 0, from, { a: a!, b: b! }, of, slots.length);
            }
          };
          multiply(0, single.x, single.gate);
          multiply(1, single.x, single.up);
          ops.glu(h, single.gate, single.up, slots.length, "silu");
          multiply(2, h, y);
          const made = await ops.read(y, slots.length);
          for (const [i, slot] of slots.entries()) results.set(made.subarray(i * dim, (i + 1) * dim), slot * dim);
        }
        for (let t = 0; t < n; t++)
          for (let c = 0; c < dim; c++) {
            let sum = 0;
            for (let slot = t * topK; slot < (t + 1) * topK; slot++)
              sum = Math.fround(sum + (weightsInput ? 1 : share[slot]!) * results[slot * dim + c]!);
            const bound = ops.name === "reference" ? 1e-4 * (1 + Math.abs(sum)) : 0;
            near(got[t * dim + c]!, sum, bound, `${n} rows: ${t} ${c}`);
          }
      }
      const factors = new Float32Array(2).fill(1);
      const wrong = (own: Omit<ExpertPair<Matrix>, "factors">) =>
        assert.throws(() => ops.experts(out, x, routing, 2, whole, "silu", [{ ...own, factors }]));
      if (ops.name === "reference") return;
      wrong({ side: "down", pair: pairs[0]!.pair });
      wrong({ side: "up", pair: { a: pairs[0]!.pair.b, b: pairs[0]!.pair.a } });
      wrong({ side: "gate", pair: { a: gate, b: up } });
    });
}
