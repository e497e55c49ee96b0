/** Calls that multiply with weights, with their operands resolved. */
import type { Acts } from "../formats/layouts.js";
import type { ExpertPair, ExpertSide, ExpertWeights, Matrix, Product, Vector } from "../ops/ops.js";
import type { GatedProduct } from "./bind-memory.js";
import type { Operands, Step } from "./bind-operands.js";
import type { CallOf } from "./flow/calls.js";
import type { Weight } from "./flow/flow.js";

const actsOf = (matrices: readonly Matrix[]): Acts[] => matrices.map(({ layout }) => layout.acts!);

const biasOf = ({ bias }: Weight, b: Operands): Vector | null => bias && b.vector(bias);

export function bindLinear(call: CallOf<"linear">, b: Operands): Step {
  const { ops, space } = b;
  const x = b.tensor(call.inputs[0]!);
  const products = call.weights.map((weight, i): Product => {
    const bias = biasOf(weight, b);
    const { transposed } = weight;
    return {
      out: b.tensor(call.outputs[i]!),
      weight: b.matrix(weight),
      bias,
      add: call.into,
      ...(transposed && { transposed }),
    };
  });
  const straight = products.filter(({ transposed }) => !transposed).map(({ weight }) => weight);
  const into = call.into ? "add" : "store";
  space.linear(x.rows, x.cols, actsOf(straight), into, call.into ? sumsOf(products) : 0);
  return (n) => ops.matmul(products, x, n);
}

/** Columns of results that grow tile by tile: of a weight that comes by inputs, and along the other axis. */
const sumsOf = (products: readonly Product[]): number =>
  products.reduce(
    (sum, { out, weight, transposed }) => sum + (transposed || weight.layout.order === "inputs" ? out.cols : 0),
    0,
  );

export function bindGated(call: GatedProduct, b: Operands): Step {
  const { ops, space } = b;
  const [x, out] = [b.tensor(call.inputs[0]), b.tensor(call.outputs[0])];
  const product = (weight: Weight): Product => ({
    out,
    weight: b.matrix(weight),
    bias: biasOf(weight, b),
    add: false,
  });
  const products = [product(call.gate), { ...product(call.up), glu: call.act }];
  space.linear(x.rows, x.cols, actsOf(products.map(({ weight }) => weight)), "glu", sumsOf(products.slice(1)));
  return (n) => ops.matmul(products, x, n);
}

export function bindHeadLinear(call: CallOf<"headLinear">, b: Operands): Step {
  const { ops, space } = b;
  const { weight, heads, along } = call;
  const [x, out] = [b.tensor(call.inputs[0]!), b.tensor(call.outputs[0]!)];
  const bias = biasOf(weight, b);
  const product = { out, weight: b.matrix(weight, heads), bias, add: false, transposed: along === "rows", heads };
  if (along === "inputs") space.linear(x.rows * heads, weight.cols, actsOf([product.weight]), "store");
  const products = [product];
  return (n) => ops.matmul(products, x, n);
}

export function bindLowRank(call: CallOf<"lowRank">, b: Operands): Step {
  const { ops, space } = b;
  const { first, adapter } = call;
  const out = b.tensor(call.outputs[0]!);
  const x = call.inputs.length > (adapter === null ? 0 : 1) ? b.tensor(call.inputs[0]!) : null;
  const pair = { a: b.ownMatrix(call.pair.a), b: b.ownMatrix(call.pair.b) };
  const kinds = [pair.a.layout.acts!, pair.b.layout.acts!] as const;
  space.lowRank(out.rows, [x?.cols ?? 0, pair.b.cols, pair.b.rows], kinds, adapter !== null);
  if (adapter === null) return (n) => ops.lowRank(out, first, x, pair, null, n);
  const chosen = b.adapterRows(adapter.slot, call.outputs[0]!.rows);
  const { scale } = adapter;
  return (n) => {
    const rows = chosen.of(scale);
    if (rows !== null) ops.lowRank(out, first, x, pair, rows, n);
  };
}

export function bindExperts(call: CallOf<"experts">, b: Operands): Step {
  const { ops, space } = b;
  const [x, out, routing] = [b.tensor(call.inputs[0]!), b.tensor(call.outputs[0]!), b.routing(call.routes)];
  const { gate, up, down, act } = call.body;
  const weights: ExpertWeights = {
    gate: gate === null ? null : b.matrix(gate),
    up: b.matrix(up),
    down: b.matrix(down),
    gateBias: gate && biasOf(gate, b),
    upBias: biasOf(up, b),
    downBias: biasOf(down, b),
    weightsInput: call.weightsInput,
  };
  const inward = weights.gate === null ? [weights.up] : [weights.gate, weights.up];
  const weighed = call.weightsInput ? x.cols : 0;
  const adapted = (call.pairs ?? []).map(({ side, pair, adapter }) => ({
    side,
    pair: { a: b.ownMatrix(pair.a), b: b.ownMatrix(pair.b) },
    rows: b.adapterRows(adapter.slot, call.outputs[0]!.rows),
    scale: adapter.scale,
  }));
  const inputs = (side: ExpertSide) => actsOf(adapted.filter((own) => own.side === side).map(({ pair }) => pair.a));
  const xRows = x.rows * (call.weightsInput ? routing.topK : 1);
  space.linear(xRows, x.cols, [...actsOf(inward), ...inputs("gate"), ...inputs("up")], "store");
  const shapes = { topK: routing.topK, experts: up.experts, dim: down.rows, hidden: up.rows, weighed };
  space.experts(x.rows, shapes, [...actsOf([weights.down]), ...inputs("down")]);
  space.expertPairs(x.rows, shapes, adapted);
  if (adapted.length === 0) return (n) => ops.experts(out, x, routing, n, weights, act);
  return (n) => {
    const pairs = adapted.flatMap(({ side, pair, rows, scale }): ExpertPair<Matrix>[] => {
      const factors = rows.factors(scale, n);
      return factors === null ? [] : [{ side, pair, factors }];
    });
    ops.experts(out, x, routing, n, weights, act, pairs);
  };
}
