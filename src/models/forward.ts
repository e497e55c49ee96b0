/** The forward pass. One row is decode, many are prefill, rows of several sequences are a batch: one function. */
import type { Matrix, Ops, Product, RowTable, Tensor, Vector } from "../ops/ops.js";
import type { ModelConfig, Step } from "./spec.js";

/** A bound model: handles only. Layer steps read and write `x`. */
export interface BoundLayers {
  readonly ops: Ops;
  readonly config: ModelConfig;
  /** [rows, dim] residual stream */
  readonly x: Tensor;
  readonly embedding: Matrix;
  readonly embeddingScale: number;
  readonly layers: readonly { readonly mixer: Step; readonly ffn: Step }[];
  /** [slice, dim] rows whose logits are wanted */
  readonly picked: Tensor;
  readonly outputNorm: Vector;
  /** The one product that makes `logits` of `picked`. */
  readonly headProducts: readonly Product[];
  /** [slice, vocab] */
  readonly logits: Tensor;
  /** The same where JavaScript reads it [slice * vocab]: their own memory, or a copy. Found by the first pass that wants logits. */
  logitValues: { readonly array: Float32Array; readonly own: boolean } | undefined;
  readonly finalSoftcap: number;
}

/** Rows whose final normalized hidden state is wanted instead of logits: what embeddings are made of. */
export interface HiddenRows {
  /** Row indices, ascending. */
  readonly wanted: Int32Array;
  /** Slices [k, dim], valid during the call; `first` is the first row's index in `wanted`. */
  readonly onHidden: (hidden: Float32Array, first: number) => void;
}

export async function forward(
  m: BoundLayers,
  rows: RowTable,
  wanted: Int32Array,
  onLogits: (logits: Float32Array, first: number) => void,
  hidden?: HiddenRows,
): Promise<void> {
  const { ops, x } = m;
  const n = rows.count;
  ops.begin(rows);
  ops.embed(x, m.embedding, n, m.embeddingScale);
  m.layers[0]?.ffn.expect?.(n);
  for (const [i, layer] of m.layers.entries()) {
    layer.mixer(n); // x += attention(norm(x)); stores this layer's keys and values
    m.layers[i + 1]?.ffn.expect?.(n); // its experts are read while this layer computes
    layer.ffn(n); // x += ffn(norm(x))
  }
  if (wanted.length > 0) m.logitValues ??= logitValues(m);
  for (let first = 0; first < wanted.length; first += m.logits.rows) {
    const slice = wanted.subarray(first, first + m.logits.rows);
    head(m, slice);
    const { array, own } = m.logitValues!;
    onLogits(
      own ? array.subarray(0, slice.length * m.logits.cols) : await ops.read(m.logits, slice.length, array),
      first,
    );
  }
  if (hidden === undefined) return;
  for (let first = 0; first < hidden.wanted.length; first += m.picked.rows) {
    const slice = hidden.wanted.subarray(first, first + m.picked.rows);
    pick(m, slice);
    hidden.onHidden(await ops.read(m.picked, slice.length), first);
  }
}

function logitValues({ ops, logits }: BoundLayers): NonNullable<BoundLayers["logitValues"]> {
  const view = ops.view?.(logits);
  return { array: view ?? new Float32Array(logits.rows * logits.cols), own: view !== undefined };
}

/** Leaves the logits of some rows of x in `logits` [slice, vocab]. */
function head(m: BoundLayers, slice: Int32Array): void {
  const { ops, picked, logits } = m;
  const k = slice.length;
  pick(m, slice);
  ops.matmul(m.headProducts, picked, k);
  if (m.finalSoftcap > 0) ops.softcap(logits, m.finalSoftcap, k);
}

/** Leaves the normalized hidden states of some rows of x in `picked` [slice, dim]. */
function pick({ ops, picked, x, outputNorm, config }: BoundLayers, slice: Int32Array): void {
  ops.gather(picked, x, slice);
  ops.rmsNorm(picked, picked, outputNorm, slice.length, config.eps);
}
