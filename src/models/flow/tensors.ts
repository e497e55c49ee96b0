/** The declaration of a tensor, where a model uses it. */

/** The purpose of a tensor; decides placement and precision. */
export type Role = "norm" | "router" | "attention" | "ffn" | "expert" | "embedding" | "head";

/**
 * Rows [from, from + count) of a tensor of the file, those of all its experts one after the other; of a vector its
 * values.
 */
export interface RowRun {
  readonly tensor: TensorDeclaration;
  readonly from: number;
  readonly count: number;
}

/** Numbers of a random tensor. */
export interface Fill {
  readonly mean: number;
  readonly deviation: number;
  /** A value above zero lies as far below it instead. */
  readonly negative?: boolean;
}

/** The value of a random tensor, of a random number of mean 0 and deviation 1. */
export function randomValue({ mean, deviation, negative = false }: Fill, normal: number): number {
  const value = mean + deviation * normal;
  return negative ? -Math.abs(value) : value;
}

export interface TensorDeclaration {
  /** Full GGUF name, `blk.3.attn_q.weight`. */
  readonly name: string;
  /** -1 for tensors of the whole model. */
  readonly layer: number;
  /** A vector is small and resident as f32; a matrix stays in the file's type. */
  readonly kind: "matrix" | "vector";
  /** GGUF order, shape[0] the columns of a matrix. */
  readonly shape: readonly number[];
  readonly role: Role;
  /** No coarser type may be chosen for it when a model is quantized; undefined: any. */
  readonly floor: "f32" | undefined;
  /** The model does without it when the file has none. */
  readonly optional: boolean;
  /** The parts it is made of where the file has it in another form; undefined: it is a tensor of the file. */
  readonly made?: readonly RowRun[];
  /** It holds whole numbers below this, different along a row; undefined: numbers as others do. */
  readonly ids?: number;
  /** How a random model fills it. */
  readonly fill: Fill;
}

/** The tensors that have to be in the file: itself, or what it is made of. */
export const storedTensors = (tensor: TensorDeclaration): TensorDeclaration[] =>
  tensor.made === undefined ? [tensor] : [...new Set(tensor.made.map((run) => run.tensor))];

/** `optional`: used when the file has it (converters keep biases of fine-tunes). */
export type Bias = "none" | "optional" | "required";

/** Layer tensors carry this prefix in the file. */
export const layerPrefix = (layer: number): string => `blk.${layer}.`;

/** The name without the prefix of its layer. */
export const localName = (name: string): string => name.replace(/^blk\.\d+\./, "");
