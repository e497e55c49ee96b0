/**
 * A program that looks at every number it makes: the first that is not finite is named with layer, verb, tensor and
 * what probably made it so. Every value is read back, so it is far slower, and the bits are the same.
 */
import { HundredweightError } from "../errors.js";
import { hadamard, kvForm, mixKey } from "../ops/kv-form.js";
import { ReferenceMatrix, readVector, WeightFiles } from "../ops/reference-weights.js";
import type { Operands, Step } from "./bind-operands.js";
import { type Call, type CallOf, type Program, weightsOf } from "./flow/calls.js";
import type { PagedState, Value, VectorWeight, Weight } from "./flow/flow.js";
import { rewrite } from "./rewrite.js";

/**
 * Puts a look behind each call at what it made, and before it at what it keeps. A product that is added to the stream
 * right away is looked at behind the sum, so that the two stay one call as they are without checks.
 */
export function withChecks(program: Program): Program {
  let index = -1;
  return rewrite(program, (made) => {
    index++;
    const layer = program.layers.findLastIndex((start) => start <= index);
    const inputs = made.verb === "keep" ? made.inputs : made.outputs;
    if (made.hint || inputs.length === 0 || isAddedTo(program.calls[index + 1], made)) return [made];
    const before = program.calls[index - 1];
    const call = before !== undefined && isAddedTo(made, before) ? before : made;
    // Behind the last layer the end begins; before the first stands the embedding.
    const place = layer < 0 ? "before the layers" : layer + 1 < program.layers.length ? `layer ${layer}` : "the end";
    const check: Call = { verb: "check", of: call, place, inputs, outputs: [], hint: false };
    return made.verb === "keep" ? [check, made] : [made, check];
  });
}

/** Whether a call adds the one product of the call before it to something. */
function isAddedTo(sum: Call | undefined, product: Call): boolean {
  if (sum?.verb !== "add" || product.verb !== "linear" || product.weights.length > 1) return false;
  return sum.inputs[1] === product.outputs[0] && sum.inputs[0] !== product.outputs[0];
}

/** The largest that a cache of half-precision numbers holds; quantized ones have such scales for 127 or 8 steps. */
const mostKept = { f16: 65504, q8_0: 127 * 65504, q4_0: 8 * 65504 } as const;

export function bindCheck(call: CallOf<"check">, b: Operands): Step {
  const { of, place, inputs } = call;
  const form = kvForm(b.kvType);
  return (n) => {
    for (const [i, value] of inputs.entries()) {
      const rows = b.ops.read(b.tensor(value), n);
      if (rows instanceof Promise) throw new HundredweightError("INTERNAL", "checks need Ops that answer at once");
      const most = of.verb !== "keep" ? Number.MAX_VALUE : mostKept[i === 0 ? form.keys : form.values];
      if (of.verb === "keep" && form.hadamard) mixRows(rows, i === 0 ? of.state.headDimK : of.state.headDimV, of.state);
      const at = rows.findIndex((v) => !(Math.abs(v) <= most));
      if (at < 0) continue;
      const found = { row: Math.floor(at / value.cols), column: at % value.cols, value: rows[at]! };
      const { tensor, cause } = causeOf(of, i, found, b, n);
      const what = tensor === undefined ? of.verb : `${of.verb} with '${tensor}'`;
      throw new HundredweightError(
        "MODEL_INVALID",
        `${place}: ${what} gave ${shown(found.value)} in row ${found.row} of the pass, column ${found.column}: ` +
          cause,
        { place, verb: of.verb, tensor, ...found, value: String(found.value) },
      );
    }
  };
}

/** Keys or values as they are kept. */
function mixRows(rows: Float32Array, length: number, { kind, heads, headDimK, headDimV }: PagedState): void {
  const layer = { kvHeads: heads, headDimK, headDimV, latent: kind !== "kv" };
  if (headDimV === 0) return;
  for (let at = 0; at < rows.length; at += length) {
    if (length === headDimK) mixKey(rows.subarray(at, at + length), layer);
    else hadamard(rows, at, length);
  }
}

const shown = (value: number): string => (Number.isFinite(value) ? value.toExponential(2) : String(value));

interface Found {
  readonly row: number;
  readonly column: number;
  readonly value: number;
}
interface Cause {
  readonly tensor: string | undefined;
  readonly cause: string;
}

const damaged = "the file is damaged or was badly converted (inspect --verify lists all such blocks)";
const overflow =
  "the numbers are finite and their sum is beyond what 32 bits hold; the model's weights or norms are too large";

/** The largest input of products by 8-bit numbers: their scale, a 127th, is a half. */
const mostInput = 127 * 65504;

/** Inputs that are finite and have no scale. @returns undefined where they have */
function tooLarge(weight: Weight, input: Value, row: number, b: Operands, n: number): string | undefined {
  const { layout } = b.source(weight);
  if (layout.acts !== "q8_32") return undefined;
  const rows = b.ops.read(b.tensor(input), n) as Float32Array;
  const most = rows.subarray(row * input.cols, (row + 1) * input.cols).reduce((a, v) => Math.max(a, Math.abs(v)), 0);
  if (most <= mostInput) return undefined;
  return (
    `its inputs reach ${shown(most)}, and with ${layout.name} they are multiplied as 8-bit numbers that reach ` +
    `${shown(mostInput)}, as in llama.cpp; in F16 or BF16 they are not`
  );
}

/** The inputs were finite: they were looked at before. */
function causeOf(call: Call, output: number, found: Found, b: Operands, n: number): Cause {
  switch (call.verb) {
    case "linear": {
      const weight = call.weights[output]!;
      const fault = faultOfRow(weight, 0, found.column, b);
      const large = fault ?? tooLarge(weight, call.inputs[0]!, found.row, b, n);
      return { tensor: weight.tensor.name, cause: large ?? overflow };
    }
    case "experts":
      return causeOfExperts(call, found, b, n);
    case "lookup":
      return { tensor: call.table.tensor.name, cause: `the row of that token is not finite; ${damaged}` };
    case "norm":
    case "layerNorm":
    case "headNorm":
      return causeOfVector(call.weight, b);
    case "multiplyVector":
      return causeOfVector(call.factors, b);
    case "keep":
      return {
        tensor: undefined,
        cause: `keys or values of '${call.state.name}' are larger than the cache's type holds`,
      };
    case "attention":
      return { tensor: undefined, cause: "scores beyond what 32 bits hold, or keys and values that are no numbers" };
    default:
      return { tensor: weightsOf(call)[0]?.tensor.name, cause: "its inputs are finite and too large" };
  }
}

function causeOfVector(weight: VectorWeight | null, b: Operands): Cause {
  if (weight === null) return { tensor: undefined, cause: "its inputs are finite, and their squares are not" };
  const bad = withFiles((files) => readVector(b.source(weight), files).findIndex((v) => !Number.isFinite(v)));
  const cause = bad < 0 ? "its inputs are finite, and their squares are not" : `value ${bad} is not finite; ${damaged}`;
  return { tensor: weight.tensor.name, cause };
}

function causeOfExperts(call: CallOf<"experts">, { row, column }: Found, b: Operands, n: number): Cause {
  const { gate, up, down } = call.body;
  const { topK } = call.routes;
  const chosen = b.ops.readRouting(b.routing(call.routes), n).ids.subarray(row * topK, (row + 1) * topK);
  for (const expert of chosen) {
    const first = faultOfRow(down, expert, column, b);
    if (first !== undefined) return { tensor: down.tensor.name, cause: `expert ${expert}, ${first}` };
    for (const weight of [gate, up]) {
      if (weight === null) continue;
      for (let r = 0; r < weight.rows; r++) {
        const fault = faultOfRow(weight, expert, r, b);
        if (fault !== undefined) return { tensor: weight.tensor.name, cause: `expert ${expert}, ${fault}` };
      }
    }
  }
  return { tensor: down.tensor.name, cause: `experts ${[...chosen].join(", ")}: ${overflow}` };
}

/** Says what is wrong with a row of a matrix, or with its bias. */
function faultOfRow(weight: Weight, expert: number, row: number, b: Operands): string | undefined {
  return withFiles((files) => {
    const values = new Float32Array(weight.cols);
    new ReferenceMatrix(0, b.source(weight), files).row(expert, row, values);
    const bad = values.findIndex((v) => !Number.isFinite(v));
    if (bad >= 0) return `row ${row} of the tensor has ${values[bad]} at value ${bad}; ${damaged}`;
    const { bias } = weight;
    if (bias === null) return undefined;
    const added = readVector(b.source(bias), files)[expert * weight.rows + row]!;
    return Number.isFinite(added) ? undefined : `its bias '${bias.tensor.name}' has ${added} at ${row}; ${damaged}`;
  });
}

function withFiles<T>(use: (files: WeightFiles) => T): T {
  const files = new WeightFiles();
  try {
    return use(files);
  } finally {
    files.close();
  }
}
