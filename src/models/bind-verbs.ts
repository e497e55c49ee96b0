/** Each verb call with its operands resolved: a closure over handles, and the working space it asks for. */
import { HundredweightError } from "../errors.js";
import { kvForm } from "../ops/kv-form.js";
import type { AttentionSpec, Tensor, Vector } from "../ops/ops.js";
import type { ListedCall } from "./bind-memory.js";
import type { Operands, Step } from "./bind-operands.js";
import { bindExperts, bindGated, bindHeadLinear, bindLinear, bindLowRank } from "./bind-products.js";
import type { CallOf, SeenState } from "./flow/calls.js";
import type { Reach, VectorWeight } from "./flow/flow.js";

/** The closure of a call; a hint is nothing where the Ops do not listen. */
export function bindCall(call: Exclude<ListedCall, CallOf<"check">>, b: Operands): Step | undefined {
  const { ops } = b;
  if (call.hint && ops.expectExperts === undefined) return undefined;
  const input = (i: number): Tensor => b.tensor(call.inputs[i]!);
  const output = (): Tensor => b.tensor(call.outputs[0]!);
  const optional = (weight: VectorWeight | null): Vector | null => (weight === null ? null : b.vector(weight));
  switch (call.verb) {
    case "lookup": {
      const [out, table, { scale, by }] = [output(), b.matrix(call.table), call];
      const rows = typeof by === "string" ? by : b.rowsBy(by);
      return (n) => ops.embed(out, table, n, scale, rows);
    }
    case "pick": {
      const [out, x] = [output(), input(0)];
      return (_n, wanted) => ops.gather(out, x, wanted);
    }
    case "copy": {
      const [out, x] = [output(), input(0)];
      return (n) => ops.copy(out, x, n);
    }
    case "linear":
      return bindLinear(call, b);
    case "gated":
      return bindGated(call, b);
    case "lowRank":
      return bindLowRank(call, b);
    case "headLinear":
      return bindHeadLinear(call, b);
    case "norm": {
      const [out, x, weight, { eps }] = [output(), input(0), optional(call.weight), call];
      return (n) => ops.rmsNorm(out, x, weight, n, eps);
    }
    case "headNorm": {
      const [x, weight, { eps, headDim }] = [output(), optional(call.weight), call];
      return (n) => ops.headNorm(x, weight, n, x.cols / headDim, headDim, eps);
    }
    case "rope": {
      const [x, table, { headDim }] = [output(), b.ropeTable(call), call];
      return (n) => ops.rope(x, n, x.cols / headDim, headDim, table);
    }
    case "glu": {
      const [out, gate, up, { act }] = [output(), input(0), input(1), call];
      return (n) => ops.glu(out, gate, up, n, act);
    }
    case "add": {
      const [y, x] = [output(), input(1)];
      return (n) => ops.add(y, x, n);
    }
    case "shift": {
      const [x, { by }] = [output(), call];
      const values = b.made(`${x.cols} of ${by}`, () => new Float32Array(x.cols).fill(by));
      return (n) => ops.addVector(x, values, n);
    }
    case "scale": {
      const [x, { factor }] = [output(), call];
      return (n) => ops.scale(x, factor, n);
    }
    case "softcap": {
      const [x, { cap }] = [output(), call];
      return (n) => ops.softcap(x, cap, n);
    }
    case "layerNorm": {
      const [out, x, weight, bias] = [output(), input(0), optional(call.weight), optional(call.bias)];
      const { eps } = call;
      return (n) => ops.layerNorm(out, x, weight, bias, n, eps);
    }
    case "act": {
      const [x, { kind }] = [output(), call];
      return (n) => ops.act(x, kind, n);
    }
    case "multiply": {
      const [y, factors] = [output(), input(1)];
      return (n) => ops.multiply(y, factors, n);
    }
    case "multiplyVector": {
      const [x, factors] = [output(), b.vector(call.factors)];
      return (n) => ops.multiplyVector(x, factors, n);
    }
    case "addVector": {
      const [x, values] = [output(), b.vector(call.values)];
      return (n) => ops.addVector(x, values, n);
    }
    case "shortConv": {
      const [out, x, bias, { pool, layer }] = [output(), input(0), optional(call.bias), b.slots(call.state)];
      const weight = b.turned(call.weight, x.cols, call.apart);
      return (n) => ops.shortConv(out, x, pool, layer, weight, bias, n);
    }
    case "compress": {
      const [out, values, gates, positions] = [output(), input(0), input(1), optional(call.positions)];
      const { pool, layer } = b.slots(call.state);
      return (n) => ops.compress(out, values, gates, pool, layer, positions, n);
    }
    case "recur": {
      const [out, skip, { pool, layer }] = [output(), optional(call.skip), b.slots(call.state)];
      const beta = call.inputs.length > 4 ? input(4) : null;
      const inputs = { q: input(0), k: input(1), v: input(2), decay: input(3), beta };
      return (n) => ops.recur(out, inputs, pool, layer, skip, n);
    }
    case "columns": {
      const { from, heads } = call;
      const x = b.headsOf(call.inputs[0]!, heads);
      const outs = call.outputs.map((value) => b.headsOf(value, heads));
      return (n) => {
        for (let i = 0; i < outs.length; i++) ops.columns(outs[i]!, 0, x, from[i]!, outs[i]!.cols, heads * n);
      };
    }
    case "join": {
      const { heads } = call;
      const out = b.headsOf(call.outputs[0]!, heads);
      const parts = call.inputs.map((value) => b.headsOf(value, heads));
      return (n) => {
        let to = 0;
        for (const part of parts) {
          ops.columns(out, to, part, 0, part.cols, heads * n);
          to += part.cols;
        }
      };
    }
    case "blend": {
      const [out, weights, { streams }] = [output(), input(0), call];
      const parts = call.inputs.slice(1).map((value) => b.tensor(value));
      return (n) => ops.blend(out, parts, weights, streams, n);
    }
    case "streamScores": {
      const [out, weight, { eps }] = [output(), b.vector(call.weight), call];
      const parts = call.inputs.map((value) => b.tensor(value));
      return (n) => ops.streamScores(out, parts, weight, n, eps);
    }
    case "hyperWeights": {
      const [read, write] = call.outputs.map((value) => b.tensor(value)) as [Tensor, Tensor];
      const [x, scale, base] = [input(0), b.vector(call.scale), b.vector(call.base)];
      const { iterations, eps } = call;
      return (n) => ops.hyperWeights(read, write, x, scale, base, n, iterations, eps);
    }
    case "headDots": {
      const [out, x, y] = [output(), input(0), input(1)];
      return (n) => ops.headDots(out, x, y, n);
    }
    case "temper": {
      const [x, { temperature }] = [output(), call];
      return (n) => ops.temper(x, temperature, n);
    }
    case "centreHeads": {
      const [x, { headDim, eps }] = [output(), call];
      return (n) => ops.centreHeads(x, n, x.cols / headDim, headDim, eps);
    }
    case "xielu": {
      const [x, { numbers }] = [output(), call];
      return (n) => ops.xielu(x, numbers, n);
    }
    case "sparsify": {
      const [x, { deviations }] = [output(), call];
      return (n) => ops.sparsify(x, deviations, n);
    }
    case "matchSize": {
      const [x, like] = [output(), input(1)];
      return (n) => ops.matchSize(x, like, n);
    }
    case "pool": {
      const [out, x, { kind }] = [output(), input(0), call];
      return (n) => ops.pool(out, x, kind, n);
    }
    case "tap":
      return bindTap(call, b);
    case "keep": {
      const [k, { pool, layer }] = [input(0), b.pool(call.state)];
      const v = call.inputs.length > 1 ? input(1) : null;
      return (n) => ops.kvStore(pool, layer, k, v, n);
    }
    case "attention":
      return bindAttention(call, b);
    case "select": {
      const [q, routing, { keys, expand }] = [input(0), b.routing(call.selection), call];
      const weights = call.inputs.length > 1 ? input(1) : null;
      const { pool, layer } = b.pool(keys);
      b.space.select(q.rows, b.contextTokens, q.cols / keys.headDimK, keys.headDimK);
      return (n) => ops.select(routing, q, weights, pool, layer, n, expand);
    }
    case "route": {
      const [routing, scores] = [b.routing(call.routes), input(0)];
      const [selectionBias, factors, table] = [call.selectionBias, call.factors, call.table].map(optional);
      const spec = { ...call.spec, selectionBias: selectionBias!, factors: factors!, table: table! };
      const { router, hint } = call;
      return (n) => {
        const expert = ops.route(routing, scores, n, spec);
        // A guess of what will be asked may be wrong; the question itself comes after it.
        if (expert < -1) refuseTable(call.table!.tensor.name);
        if (expert >= 0 && !hint) refuseRouter(router, expert);
      };
    }
    case "experts":
      return bindExperts(call, b);
    case "expect": {
      const [routing, first] = [b.routing(call.routes), b.matrix(call.first)];
      return (n) => ops.expectExperts!(routing, n, first);
    }
  }
}

/** As logits are refused (sampling/candidates.ts): damage must not become text. */
function refuseRouter(tensor: string, expert: number): never {
  throw new HundredweightError(
    "MODEL_INVALID",
    `the router '${tensor}' gave no finite number for expert ${expert}: it, or a weight before it, is ` +
      `damaged or overflows; check the file`,
    { tensor, expert },
  );
}

function refuseTable(tensor: string): never {
  throw new HundredweightError(
    "MODEL_INVALID",
    `the table '${tensor}' names an expert that is not there, or one twice for the same token: check the file`,
    { tensor },
  );
}

function bindReach(reach: Reach): Pick<AttentionSpec, "window" | "reach"> {
  if (reach === "all") return { window: 0 };
  if ("window" in reach) return { window: reach.window };
  return "chunk" in reach ? { window: reach.chunk, reach: "chunk" } : { window: reach.symmetric, reach: "symmetric" };
}

function bindTap({ tap, weights, routes, experts, inputs }: CallOf<"tap">, b: Operands): Step {
  const names = weights.map(({ tensor }) => tensor.name);
  const x = b.tensor(inputs[0]!);
  const routing = routes === null ? null : b.routing(routes);
  return (n) => {
    const rows = b.ops.read(x, n);
    if (rows instanceof Promise) throw new HundredweightError("INTERNAL", "taps need Ops that answer at once");
    tap(names, rows, routing === null || experts === null ? null : { ...b.ops.readRouting(routing, n), ...experts });
  };
}

/**
 * 2^(-e/n) to the power of 1, 2, ... for the largest power of two n of heads; those beyond it take the odd powers of
 * the root.
 * @source Press, Smith & Lewis 2021, "Train Short, Test Long"
 */
export function alibiSlopes(heads: number, exponent: number): Float32Array {
  const n = 2 ** Math.floor(Math.log2(heads));
  return Float32Array.from({ length: heads }, (_, h) =>
    h < n ? 2 ** ((-exponent / n) * (h + 1)) : 2 ** ((-exponent / 2 / n) * (2 * (h - n) + 1)),
  );
}

function bindAttention(call: CallOf<"attention">, b: Operands): Step {
  const { ops } = b;
  const [q, out] = [b.tensor(call.inputs[0]!), b.tensor(call.outputs[0]!)];
  const carry = call.outputs[1] === undefined ? undefined : b.tensor(call.outputs[1]);
  const mixed = kvForm(b.kvType).hadamard;
  const steps = call.sources.map((source, i): Step => {
    const place = i === 0 ? "first" : i < call.sources.length - 1 ? "next" : "last";
    const { pool, layer } = b.pool(source.state);
    const spec = { ...seen(call, source, b), ...(carry !== undefined && { part: { carry, place } as const }) };
    if (source.selection === null) b.space.attention(q.rows, spec, mixed, b.cold(source.state));
    else b.space.selected(spec.headDimK, spec.headDimV, mixed);
    return (n) => ops.attention(out, q, pool, layer, n, spec);
  });
  if (steps.length === 1) return steps[0]!;
  return (n, wanted) => {
    for (const step of steps) step(n, wanted);
  };
}

function seen(
  { heads, scale, softcap, sinks, alibi }: CallOf<"attention">,
  { state, reach, selection }: SeenState,
  b: Operands,
): AttentionSpec {
  const { headDimK, headDimV } = state;
  return {
    heads,
    kvHeads: state.heads,
    headDimK,
    headDimV,
    scale,
    ...bindReach(reach),
    softcap,
    sinks: sinks === null ? null : b.vector(sinks),
    slopes: alibi === 0 ? null : b.made(`alibi ${heads} ${alibi}`, () => alibiSlopes(heads, alibi)),
    ...(selection !== null && { selection: b.routing(selection) }),
  };
}
