/**
 * Scales of columns that the operation before takes back (AWQ): the columns that matter most are made larger before
 * rounding, and a norm, or the rows of the matrix before, is divided by the same. Which operation is before which
 * matrices is followed in the model's own list of calls.
 * @source Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration"
 */

import { diagonalOf } from "../compress/feedback.js";
import { plainColumns } from "../compress/integer-columns.js";
import type { IntegerEncoder } from "../compress/integers.js";
import type { Moments } from "../compress/moments.js";
import { f16Table, fromBf16, toBf16, toF16 } from "../formats/float16.js";
import type { TensorInfo } from "../formats/types.js";
import type { ModelDescription } from "../models/index.js";
import { vectorBytes } from "./encode-rows.js";
import { integerRuns } from "./folder-parts.js";
import type { Sources } from "./stored-matrix.js";

type Call = ModelDescription["program"]["calls"][number];
type Value = Call["outputs"][number];

/** Matrices that share their input, and what is divided: vectors and matrices by output. */
interface Fold {
  readonly matrices: readonly string[];
  readonly divided: readonly string[];
  /** A vector whose rounding decides which scales are exact. */
  readonly norm: string | undefined;
}

export interface FoldOptions {
  readonly bits: 4;
  readonly group: number;
  readonly symmetric: boolean;
}

/** Powers of the activations that are tried: k / steps. */
const steps = 20;

export class Folds {
  readonly #infos: ReadonlyMap<string, TensorInfo>;
  readonly #byMatrix = new Map<string, Fold>();
  readonly #byDivided = new Map<string, Fold>();
  readonly #scales = new Map<Fold, Float32Array | undefined>();
  readonly #moments: Moments;
  readonly #options: FoldOptions;
  readonly #files: Sources;
  readonly #encoder: IntegerEncoder;

  constructor(
    description: ModelDescription,
    linear: ReadonlySet<string>,
    moments: Moments,
    options: FoldOptions,
    files: Sources,
    encoder: IntegerEncoder,
  ) {
    this.#infos = new Map(description.tensors.map(({ name, info }) => [name, info]));
    [this.#moments, this.#options, this.#files, this.#encoder] = [moments, options, files, encoder];
    for (const fold of foldsOf(description, linear)) {
      if (!fold.matrices.every((name) => moments.entries.has(name))) continue;
      for (const name of fold.matrices) this.#byMatrix.set(name, fold);
      for (const name of fold.divided) this.#byDivided.set(name, fold);
    }
  }

  /** Factors of the columns of a matrix; undefined: with nothing. */
  multipliers(matrix: string): Float32Array | undefined {
    const fold = this.#byMatrix.get(matrix);
    return fold && this.#of(fold);
  }

  /** Numbers that a vector's values, or a matrix's rows, are divided by. */
  divisors(tensor: string): Float32Array | undefined {
    const fold = this.#byDivided.get(tensor);
    return fold && this.#of(fold);
  }

  #of(fold: Fold): Float32Array | undefined {
    if (!this.#scales.has(fold)) this.#scales.set(fold, this.#search(fold));
    return this.#scales.get(fold);
  }

  /** The power of the inputs' size that loses least. */
  #search(fold: Fold): Float32Array | undefined {
    const squares = this.weights(fold.matrices[0]!);
    if (squares === undefined) return undefined;
    let best: { readonly loss: number; readonly scales: Float32Array } | undefined;
    for (let step = 0; step < steps; step++) {
      const scales = this.#exact(fold, scalesFor(squares, step / steps));
      const loss = fold.matrices.reduce((sum, name) => sum + this.#loss(name, squares, scales), 0);
      if (best === undefined || loss < best.loss) best = { loss, scales };
    }
    return best!.scales;
  }

  /** The mean squares of a matrix's inputs. */
  weights(matrix: string): Float32Array | undefined {
    const entry = this.#moments.entries.get(matrix);
    if (entry === undefined || (entry.rows[0] ?? 0) === 0 || entry.rows.length > 1) return undefined;
    return diagonalOf(this.#moments.read(entry, 0), entry.cols, entry.block, entry.rows[0]!);
  }

  /** Those that a norm holds after rounding, so that dividing by them changes no number. */
  #exact({ norm }: Fold, scales: Float32Array): Float32Array {
    const info = norm === undefined ? undefined : this.#infos.get(norm);
    if (info === undefined) return scales;
    const values = floatsOf(info, this.#files);
    return scales.map((scale, i) => {
      const kept = asStored(values[i]! / scale, info);
      const exact = values[i]! / kept;
      return Number.isFinite(exact) && exact > 0 ? Math.fround(exact) : 1;
    });
  }

  #loss(name: string, squares: Float32Array, scales: Float32Array): number {
    const info = this.#infos.get(name)!;
    const cols = info.shape[0]!;
    const { bits, symmetric } = this.#options;
    const group = this.#options.group === 0 ? cols : this.#options.group;
    const columns = { ...plainColumns(cols, group), weights: squares.map((w, i) => w / scales[i]! ** 2) };
    const form = { bits, group, symmetric, trials: 1 };
    let loss = 0;
    for (const { errors } of integerRuns(this.#encoder, { name, info }, this.#files, form, columns, scales))
      for (const error of errors) loss += error;
    return loss;
  }
}

/** Root mean squares to a power, spread round one. Columns without inputs keep their size. */
function scalesFor(squares: Float32Array, power: number): Float32Array {
  const sizes = squares.map((square) => Math.sqrt(square));
  const heard = sizes.filter((size) => size > 0);
  if (heard.length === 0) return sizes.fill(1);
  const least = heard.reduce((a, b) => Math.min(a, b));
  const most = heard.reduce((a, b) => Math.max(a, b));
  const middle = Math.sqrt(least ** power * most ** power);
  // Beyond these no half holds what comes of it.
  return sizes.map((size) => (size > 0 ? Math.min(1e4, Math.max(1e-4, size ** power / middle)) : 1));
}

/** Values of a small vector, as the model has them. */
export function floatsOf(info: TensorInfo, files: Sources): Float32Array {
  const bytes = vectorBytes(info, undefined, files);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** A value of a vector after it was stored in its type and read again. */
function asStored(value: number, { layout, change }: TensorInfo): number {
  const less = change === "plus one" ? 1 : 0;
  const kept = Math.fround(value - less);
  const read =
    layout.name === "BF16" ? fromBf16(toBf16(kept)) : layout.name === "F16" ? f16Table()[toF16(kept)]! : kept;
  return read + less;
}

/** @param linear matrices that are to be quantized */
function* foldsOf({ program }: ModelDescription, linear: ReadonlySet<string>): Generator<Fold> {
  const users = new Map<Value, Call[]>();
  const makers = new Map<Value, Call>();
  for (const call of program.calls) {
    if (call.hint) continue;
    for (const value of call.inputs) users.set(value, [...(users.get(value) ?? []), call]);
    for (const value of call.outputs) makers.set(value, call);
  }
  const ends = new Set(Object.values(program.outputs));
  /** The matrices that a value goes into, where it goes nowhere else. */
  const matricesOf = (value: Value): string[] | undefined => {
    const calls = users.get(value) ?? [];
    const names = calls.flatMap((call) =>
      call.verb === "linear" ? call.weights.map(({ tensor }) => tensor.name) : [],
    );
    const only = calls.every((call) => call.verb === "linear") && !ends.has(value);
    return only && names.length > 0 && names.every((name) => linear.has(name)) ? names : undefined;
  };
  for (const call of program.calls) {
    if (call.hint || call.outputs.length !== 1) continue;
    const matrices = matricesOf(call.outputs[0]!);
    if (matrices === undefined) continue;
    if ((call.verb === "norm" || call.verb === "layerNorm") && call.weight !== null) {
      const bias = call.verb === "layerNorm" && call.bias !== null ? [call.bias.tensor.name] : [];
      if (call.weight.each !== undefined) continue;
      yield { matrices, divided: [call.weight.tensor.name, ...bias], norm: call.weight.tensor.name };
    }
    if (call.verb !== "glu") continue;
    // A gated unit is act(gate) times up: what divides the rows of up divides its output.
    const up = makers.get(call.inputs[1]!);
    const place = up?.outputs.indexOf(call.inputs[1]!) ?? -1;
    if (up?.verb !== "linear" || up.into || users.get(call.inputs[1]!)!.length > 1) continue;
    const { tensor, bias } = up.weights[place]!;
    if (!linear.has(tensor.name)) continue;
    yield { matrices, divided: [tensor.name, ...(bias === null ? [] : [bias.tensor.name])], norm: undefined };
  }
}
