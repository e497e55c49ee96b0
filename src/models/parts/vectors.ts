/** The end of a model that makes vectors: a row for each text, and what a classification head makes of it. */
import { poolings, type VectorConfig } from "../flow/architecture.js";
import type { Outputs } from "../flow/calls.js";
import type { Flow, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";

/** As ggml numbers them in files.  @source llama.cpp v0.5.0, enum llama_pooling_type */
const poolingKey = "pooling_type";
const mostLabels = 65536;

/** Reads a file's word on vectors; undefined where it says nothing. */
export function vectorConfig(m: MetadataReader): VectorConfig | undefined {
  if (!m.has(poolingKey)) return undefined;
  const pooling = poolings[m.uint(poolingKey, { min: 0, max: poolings.length - 1 })]!;
  const labels = m.texts("classifier.output_labels") ?? ["score"];
  if (labels.length === 0 || labels.length > mostLabels)
    m.fault(`metadata '${m.arch}.classifier.output_labels' has ${labels.length} labels`);
  return { pooling, labels };
}

interface Ranked {
  readonly dim: number;
  readonly eps: number;
  readonly vectors: VectorConfig;
}

export interface ClassifierOptions {
  /** Outputs of the first product; the width of the model by default. */
  readonly hidden?: number;
  /** Activation behind the first product. Default tanh. */
  readonly act?: "tanh" | "gelu-tanh";
}

/** A product, an activation and perhaps a norm, then a product that gives the scores: as much of it as the file has. */
export function classify(f: Flow, x: Value, c: Ranked, o: ClassifierOptions = {}): Value {
  let y = x;
  if (f.has("cls.weight")) {
    const product = f.matrix("cls", c.dim, o.hidden ?? c.dim, "head", { bias: "optional" });
    y = f.act(f.linear(y, product)[0]!, o.act ?? "tanh");
    if (f.has("cls.norm.weight")) y = f.layerNorm(y, f.vector("cls.norm", y.cols, "norm"), null, c.eps);
  }
  if (!f.has("cls.weight") || f.has("cls.output.weight"))
    y = f.linear(y, f.matrix("cls.output", y.cols, c.vectors.labels.length, "head", { bias: "optional" }))[0]!;
  return y;
}

export interface VectorsEndOptions extends ClassifierOptions {
  /** The row a classification head reads. Default the first. */
  readonly ranked?: "first" | "mean";
  /** Products behind the pooling. */
  readonly project?: (f: Flow, x: Value) => Value;
}

/** Outputs of an encoder, from its final rows. */
export function vectorsEnd(f: Flow, rows: Value, c: Ranked, o: VectorsEndOptions = {}): Outputs {
  const hidden = f.pick(rows);
  const { pooling } = c.vectors;
  if (pooling === "none") return { hidden };
  if (pooling === "rank") return { hidden, rank: classify(f, f.pool(rows, o.ranked ?? "first"), c, o) };
  const pooled = f.pool(rows, pooling === "cls" ? "first" : pooling);
  return { hidden, pooled: o.project?.(f, pooled) ?? pooled };
}
