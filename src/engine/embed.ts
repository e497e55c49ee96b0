/** Vectors and scores of texts: what comes of the final rows of a text, its pooled row, or its classification head. */
import { HundredweightError } from "../errors.js";
import type { PoolingName } from "../models/index.js";
import type { EmbedRequest, JobResult } from "./jobs.js";
import type { ModelInfo } from "./options.js";
import type { Past, Task, Wanted } from "./task.js";

/** Rows of a text of which something is wanted, and the form it is wanted in. */
interface Reading {
  /** Every row (as the sum goes on), the first, or the last. */
  readonly rows: "each" | "first" | "last";
  readonly wanted: Exclude<Wanted, "nothing" | "logits">;
}

/** A text whose rows end in one result. */
abstract class ReadTask implements Task {
  readonly tokens: Int32Array;
  readonly known: number;
  readonly promptTokens: number;
  readonly mostPositions: number;
  readonly answering = false;
  readonly generated = 0;
  readonly whole: boolean;
  readonly past: Past;
  result: JobResult | undefined;
  /** The first position that is wanted and has not been seen. */
  protected next: number;
  private readonly reading: Reading;

  constructor(prompt: Int32Array, info: ModelInfo, reading: Reading) {
    this.tokens = prompt;
    this.known = prompt.length;
    this.promptTokens = prompt.length;
    this.mostPositions = prompt.length;
    this.whole = info.vectors?.whole ?? false;
    // Nobody goes on where a text ends of which only a vector is wanted; rows that saw what came after are no past of
    // another text.
    this.past = this.whole ? "gone" : "spare";
    this.reading = reading;
    this.next = reading.rows === "last" ? prompt.length - 1 : 0;
  }

  get reusable(): number {
    return this.whole ? 0 : this.next;
  }

  start(): void {}

  wanted(position: number): Wanted {
    if (position < this.next || (this.reading.rows === "first" && position > 0)) return "nothing";
    return this.reading.wanted;
  }

  take(position: number, row: Float32Array): void {
    if (position < this.next) return;
    this.next = position + 1;
    this.add(position, row);
  }

  passed(): void {
    const enough = this.reading.rows === "first" ? 1 : this.known;
    if (this.next >= enough) this.result ??= this.made();
  }

  protected abstract add(position: number, row: Float32Array): void;
  protected abstract made(): JobResult;
}

/** One vector for a text, or one for each of its tokens. */
export class EmbedTask extends ReadTask {
  private readonly pooling: Exclude<PoolingName, "rank">;
  private readonly norm: number;
  private readonly dimensions: number;
  /** Row by row in order of position, in double precision: neither chunks nor other jobs change a bit. */
  private readonly sum: Float64Array;

  /** @throws OPTION_INVALID for what the model cannot do */
  constructor(prompt: Int32Array, info: ModelInfo, request: EmbedRequest) {
    const pooling = poolingOf(info, request.pooling);
    super(prompt, info, readingOf(info, pooling));
    const { dimensions = info.dim, normalize = 2 } = request;
    if (!(Number.isInteger(dimensions) && dimensions >= 1 && dimensions <= info.dim))
      throw new HundredweightError(
        "OPTION_INVALID",
        `vectors of ${dimensions} numbers cannot be had of a model whose have ${info.dim}`,
        { dimensions, dim: info.dim },
      );
    checkNorm(normalize);
    this.pooling = pooling;
    this.norm = normalize;
    this.dimensions = dimensions;
    this.sum = new Float64Array(pooling === "none" ? prompt.length * info.dim : info.dim);
  }

  protected override add(position: number, row: Float32Array): void {
    const at = this.pooling === "none" ? position * row.length : 0;
    for (let i = 0; i < row.length; i++) this.sum[at + i] = this.sum[at + i]! + row[i]!;
  }

  protected override made(): JobResult {
    const { dimensions, norm, known: tokens, sum } = this;
    const rows = this.pooling === "none" ? tokens : 1;
    const dim = sum.length / rows;
    const embedding = new Float32Array(rows * dimensions);
    // Length 1 makes dividing a mean's sum needless; without it, it is the mean.
    checkNumbers(sum);
    const divisor = this.pooling === "mean" && norm < 0 && this.next > 1 ? this.next : 1;
    for (let r = 0; r < rows; r++) {
      const vector = sum.subarray(r * dim, r * dim + dimensions);
      const size = norm < 0 ? divisor : sizeOf(vector, norm);
      for (let i = 0; i < dimensions; i++) embedding[r * dimensions + i] = size > 0 ? vector[i]! / size : 0;
    }
    return { kind: "embed", embedding, tokens };
  }
}

/** Scores of a pair of texts, by the model's classification head. */
export class RankTask extends ReadTask {
  private readonly softmax: boolean;
  private scores: Float32Array = new Float32Array(0);

  /** @throws OPTION_INVALID for a model without such a head */
  constructor(prompt: Int32Array, info: ModelInfo) {
    if (info.vectors?.pooling !== "rank")
      throw new HundredweightError(
        "OPTION_INVALID",
        "this model does not rerank: its file says nothing of a pooling 'rank' (a reranker's does)",
      );
    super(prompt, info, { rows: "last", wanted: "rank" });
    this.softmax = info.vectors.softmax ?? false;
  }

  protected override add(_position: number, row: Float32Array): void {
    checkNumbers(row);
    this.scores = this.softmax ? probabilities(row) : row.slice();
  }

  protected override made(): JobResult {
    return { kind: "rank", scores: this.scores, tokens: this.known };
  }
}

/** The pooling asked for, else the file's, else the mean. */
function poolingOf({ vectors }: ModelInfo, asked: EmbedRequest["pooling"]): Exclude<PoolingName, "rank"> {
  if (vectors?.pooling === "rank" && asked === undefined)
    throw new HundredweightError(
      "OPTION_INVALID",
      "this model gives scores of pairs of texts, not vectors: rerank with it",
    );
  const own = vectors?.pooling === "rank" ? undefined : vectors?.pooling;
  // A file that names none is one of rows; a text wants one vector all the same.
  return asked ?? (own === undefined || own === "none" ? "mean" : own);
}

function readingOf({ vectors }: ModelInfo, pooling: Exclude<PoolingName, "rank">): Reading {
  if (vectors?.pools === true && pooling === vectors.pooling) return { rows: "last", wanted: "pooled" };
  if (vectors?.projects === true && pooling !== "none")
    throw new HundredweightError(
      "OPTION_INVALID",
      `this model projects what was pooled by '${vectors.pooling}': pooling '${pooling}' cannot be had`,
    );
  return { rows: pooling === "cls" ? "first" : pooling === "last" ? "last" : "each", wanted: "hidden" };
}

/** @throws MODEL_INVALID */
function checkNumbers(values: Float32Array | Float64Array): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  throw new HundredweightError(
    "MODEL_INVALID",
    `the model gave ${values[at]} at ${at} of a text's vector: its weights are damaged or overflow; ` +
      "check the file (inspect --verify)",
    { at, value: String(values[at]) },
  );
}

/** -1: as it is; 0: the largest becomes 32760; p: the p-norm becomes 1.  @throws OPTION_INVALID */
function checkNorm(norm: number): void {
  if (!Number.isFinite(norm) || (norm < 1 && norm !== 0 && norm !== -1))
    throw new HundredweightError("OPTION_INVALID", `a norm of ${norm}: -1 (none), 0 (largest), 1, 2 or more are there`);
}

/** @source llama.cpp v0.5.0, common_embd_normalize */
function sizeOf(vector: Float64Array, norm: number): number {
  if (norm === 0) return vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 32760;
  if (norm === 2) return Math.sqrt(vector.reduce((total, value) => total + value * value, 0));
  return vector.reduce((total, value) => total + Math.abs(value) ** norm, 0) ** (1 / norm);
}

/** Scores of classes, which are logits, as their probabilities. */
export function probabilities(row: Float32Array): Float32Array {
  const most = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = Float64Array.from(row, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (power) => power / sum);
}
