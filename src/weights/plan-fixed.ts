/** Memory a plan takes besides matrices, expert slots and ring: it grows with context, passes and vocabulary. */
import { estimateMemory, type MemoryEstimate } from "../models/index.js";
import { defaultLogitRows } from "./plan-defaults.js";
import type { PlanModel } from "./plan-model.js";
import { pinnedEdgeBytes } from "./plan-tiles.js";
import type { PlanOptions } from "./plan-types.js";

const mebibyte = 2 ** 20;
/** Two threads of JavaScript and their code (about 90 MB), and the 100 MB a run may take beyond what is counted. */
const defaultRuntimeBytes = 192 * mebibyte;
/** Texts, merges and tables of a vocabulary: 85 bytes a token measured, a third more while they are built. */
const tokenizerBytesPerToken = 128;

/** A second Node with a small heap; its vocabulary, and room for a request: 25 MB of its own measured with 128,256 tokens, idle. */
const textProcessBase = 32 * mebibyte;
const textProcessBytesPerToken = 160;

/** Bytes the process for texts adds to the runtime: at most 60 MB for 150,000 tokens. */
export function textProcessBytes(vocab: number): number {
  return textProcessBase + textProcessBytesPerToken * vocab;
}

export class FixedMemory {
  readonly #model: PlanModel;
  readonly #threads: number;
  readonly #options: PlanOptions;
  readonly #estimates = new Map<string, MemoryEstimate>();

  constructor(model: PlanModel, threads: number, options: PlanOptions) {
    this.#model = model;
    this.#threads = threads;
    this.#options = options;
  }

  /** Positions of all sequences together. */
  kvBytes(contextTokens: number, kvTokens: number): number {
    return this.#estimate(contextTokens, kvTokens, 1).kvBytes;
  }

  /** By purpose, and all of it. */
  bytes(contextTokens: number, kvTokens: number, maxRows: number) {
    const estimate = this.#estimate(contextTokens, kvTokens, maxRows);
    const { embedding, description, trunk, expertLayers } = this.#model;
    const { vocab } = description.config;
    const { runtimeBytes = defaultRuntimeBytes, textProcess = false } = this.#options;
    // Direct reads bring the pages around what is pinned along.
    const matrices = [...trunk, ...expertLayers.flatMap((layer) => layer.matrices)];
    const edges = matrices.reduce((sum, matrix) => sum + pinnedEdgeBytes(matrix), 0);
    const bytes = {
      vectors: estimate.vectorBytes + edges,
      kv: estimate.kvBytes,
      activations:
        estimate.activationBytes +
        estimate.ropeBytes +
        estimate.scratchBytes +
        maxRows * (embedding?.slices.bytes ?? 0),
      tokenizer: tokenizerBytesPerToken * vocab,
      runtime: runtimeBytes + (textProcess ? textProcessBytes(vocab) : 0),
    };
    return { ...bytes, total: sumOf(bytes) };
  }

  #estimate(contextTokens: number, kvTokens: number, maxRows: number): MemoryEstimate {
    const { sequences = 1, logitRows = defaultLogitRows } = this.#options;
    const key = `${contextTokens} ${kvTokens} ${maxRows}`;
    const known =
      this.#estimates.get(key) ??
      estimateMemory(
        this.#model.description,
        {
          contextTokens,
          kvTokens,
          maxRows,
          sequences,
          kvType: this.#options.kvType ?? "f16",
          maxLogitRows: Math.min(logitRows, maxRows),
        },
        this.#threads,
      );
    this.#estimates.set(key, known);
    return known;
  }
}

export function sumOf(bytes: object): number {
  return Object.values(bytes).reduce((total: number, value: number) => total + value, 0);
}
