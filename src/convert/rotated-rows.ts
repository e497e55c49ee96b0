/**
 * Which tensors of a folder have rows in another order in a GGUF file: those whose products RoPE turns, where the
 * architecture says that GGUF pairs neighbours and a folder halves. Followed in the model's own list of calls.
 */
import { HundredweightError } from "../errors.js";
import type { Checkpoint } from "../formats/types.js";
import { findArchitecture, type ModelDescription } from "../models/index.js";

type Call = ModelDescription["program"]["calls"][number];
type Value = Call["outputs"][number];

/** Rows of each head that trade places. */
export interface Rotated {
  readonly headDim: number;
  /** Turned values of a head. */
  readonly dims: number;
  /** Values of a head before them. */
  readonly first: number;
  /** The other way: a folder is written of a GGUF file. */
  readonly back?: true;
}

/**
 * @param to the kind of file that is written
 * @returns by full name, of weights, biases and norms
 * @throws FORMAT_UNSUPPORTED for a model that is not understood
 */
export function rotatedRows(
  checkpoint: Checkpoint,
  { arch, program }: ModelDescription,
  to: "gguf" | "folder" = "gguf",
): Map<string, Rotated> {
  const found = new Map<string, Rotated>();
  if ((checkpoint.format === "gguf") !== (to === "folder") || findArchitecture(arch).ggufPairs !== "neighbours")
    return found;
  const makers = new Map<Value, Call>();
  for (const call of program.calls) for (const value of call.outputs) makers.set(value, call);
  for (const call of program.calls) {
    if (call.verb !== "rope" || call.rope.pairs !== undefined) continue;
    const { headDim, rope } = call;
    const rotated = {
      headDim,
      dims: rope.dims,
      first: rope.first ?? 0,
      ...(to === "folder" && { back: true as const }),
    };
    for (const name of madeBy(call.inputs[0]!, makers, arch)) found.set(name, rotated);
  }
  return found;
}

/** The tensors that a rotated value is made of, as far as their rows are its columns. */
function* madeBy(value: Value, makers: ReadonlyMap<Value, Call>, arch: string): Generator<string> {
  const call = makers.get(value);
  switch (call?.verb) {
    case "linear": {
      const weight = call.weights[call.outputs.indexOf(value)];
      if (weight === undefined || weight.tensor.made !== undefined) break;
      yield weight.tensor.name;
      if (weight.bias !== null) yield weight.bias.tensor.name;
      return;
    }
    case "headNorm":
    case "norm":
      if (call.weight !== null) yield call.weight.tensor.name;
      yield* madeBy(call.inputs[0]!, makers, arch);
      return;
    case "multiplyVector":
      yield call.factors.tensor.name;
      yield* madeBy(call.inputs[0]!, makers, arch);
      return;
    case "addVector":
      yield call.values.tensor.name;
      yield* madeBy(call.inputs[0]!, makers, arch);
      return;
  }
  throw new HundredweightError(
    "FORMAT_UNSUPPORTED",
    `the rows that RoPE turns in '${arch}' come out of '${call?.verb}', whose order for GGUF is not known`,
  );
}

/**
 * The row of what lies there that stands at a place of what is written. In a GGUF file pairs are side by side; in a
 * folder the first of each pair are in the first half of the turned rows, the second ones in the second.
 */
export function sourceRow({ headDim, dims, first, back }: Rotated, row: number): number {
  const within = row % headDim;
  const turned = within - first;
  if (turned < 0 || turned >= dims) return row;
  const half = dims / 2;
  const from = back ? 2 * (turned % half) + (turned < half ? 0 : 1) : (turned >> 1) + (turned % 2 === 0 ? 0 : half);
  return row - within + first + from;
}
