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
  /** The same where JavaScript reads it [slice * vocab]; made by the first pass that wants logits. */
  logitValues: Float32Array | undefined;
  readonly finalSoftcap: number;
}

export async function forward(
  m: BoundLayers,
  rows: RowTable,
  wanted: Int32Array,
  onLogits: (logits: Float32Array, first: number) => void,
): Promise<void> {
  const { ops, x } = m;
  const n = rows.count;
  ops.begin(rows);
  ops.embed(x, m.embedding, n, m.embeddingScale);
  for (const layer of m.layers) {
    layer.mixer(n); // x += attention(norm(x)); stores this layer's keys and values
    layer.ffn(n); // x += ffn(norm(x))
  }
  if (wanted.length > 0) m.logitValues ??= new Float32Array(m.logits.rows * m.logits.cols);
  for (let first = 0; first < wanted.length; first += m.logits.rows) {
    const slice = wanted.subarray(first, first + m.logits.rows);
    head(m, slice);
    onLogits(await ops.read(m.logits, slice.length, m.logitValues), first);
  }
}

/** Leaves the logits of some rows of x in `logits` [slice, vocab]. */
function head(m: BoundLayers, slice: Int32Array): void {
  const { ops, picked, logits } = m;
  const k = slice.length;
  ops.gather(picked, m.x, slice);
  ops.rmsNorm(picked, picked, m.outputNorm, k, m.config.eps);
  ops.matmul(m.headProducts, picked, k);
  if (m.finalSoftcap > 0) ops.softcap(logits, m.finalSoftcap, k);
}
