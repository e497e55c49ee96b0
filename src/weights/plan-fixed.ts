/** Memory a plan takes besides matrices, expert slots and ring: it grows with context, passes and vocabulary. */
import { estimateMemory, type MemoryEstimate, withChecks } from "../models/index.js";
import { slotPoolBytes } from "../ops/paper.js";
import { defaultLogitRows } from "./plan-defaults.js";
import { type PlanModel, sumBytes } from "./plan-model.js";
import { pinnedEdgeBytes } from "./plan-tiles.js";
import type { PlanOptions } from "./plan-types.js";

const mebibyte = 2 ** 20;
/** Two threads of JavaScript and their code (about 90 MB), and the 100 MB a run may take beyond what is counted. */
const defaultRuntimeBytes = 192 * mebibyte;
/** Texts, merges and tables of a vocabulary: 85 bytes a token measured, a third more while they are built. */
const tokenizerBytesPerToken = 128;

/**
 * Memory that answers in a form take (`sampling/constraint`): the tree of tokens (measured: 42 bytes a token) and
 * slices of it, masks (`maskBytes` there), automata (`automatonBytes`).
 */
export function constraintBytes(vocab: number): number {
  return 48 * vocab + Math.min(16 * mebibyte, 64 * vocab) + 8 * mebibyte;
}

/**
 * A second Node with a small heap; its vocabulary, and room for a request: 25 MB of its own measured with 128,256
 * tokens, idle.
 */
const textProcessBase = 32 * mebibyte;
const textProcessBytesPerToken = 160;

/** Bytes the process for texts adds to the runtime: at most 60 MB for 150,000 tokens. */
export function textProcessBytes(vocab: number): number {
  return textProcessBase + textProcessBytesPerToken * vocab;
}

/** The end of a system prompt and the last turn: without them every prompt would be evaluated whole. */
const leastCheckpoints = 2;

export class FixedMemory {
  /** Bytes of one state of all layers that are replaced; 0: there are none. */
  readonly slotBytes: number;
  /** States of earlier positions that are kept whatever the budget. */
  readonly checkpoints: number;
  readonly #model: PlanModel;
  readonly #threads: number;
  readonly #options: PlanOptions;
  /** Direct reads bring the pages around what is pinned along; what every slice needs is kept, as is what is beside. */
  readonly #edgeBytes: number;
  readonly #estimates = new Map<string, MemoryEstimate>();

  constructor(model: PlanModel, threads: number, options: PlanOptions) {
    this.#model = model;
    this.#threads = threads;
    this.#options = options;
    const { trunk, beside, expertLayers } = model;
    const matrices = [...trunk, ...beside, ...expertLayers.flatMap((layer) => layer.matrices)];
    this.#edgeBytes =
      matrices.reduce((sum, matrix) => sum + pinnedEdgeBytes(matrix) + matrix.keptBytes, 0) + sumBytes(beside);
    this.slotBytes = slotPoolBytes(model.description.slotLayers).slotBytes;
    const { checkpointBytes = leastCheckpoints * this.slotBytes } = options;
    this.checkpoints = this.slotBytes === 0 ? 0 : Math.floor(checkpointBytes / this.slotBytes);
  }

  /** Positions of all sequences together. */
  kvBytes(contextTokens: number, kvTokens: number): number {
    const { kvBytes, slotBytes } = this.#estimate(contextTokens, kvTokens, 1);
    return kvBytes + slotBytes;
  }

  /** Bytes of one position, all layers: what a token more takes. */
  kvBytesPerToken(contextTokens: number, kvTokens: number, maxRows: number): number {
    const { kvBytes, coldBytes } = this.#estimate(contextTokens, kvTokens, maxRows);
    return (kvBytes + coldBytes) / kvTokens;
  }

  /** Bytes of a full KV cache that are on the disk. */
  kvColdBytes(contextTokens: number, kvTokens: number, maxRows: number): number {
    return this.#estimate(contextTokens, kvTokens, maxRows).coldBytes;
  }

  /** By purpose, and all of it. */
  bytes(contextTokens: number, kvTokens: number, maxRows: number) {
    const estimate = this.#estimate(contextTokens, kvTokens, maxRows);
    const { tables, description } = this.#model;
    const { vocab } = description.config;
    const { runtimeBytes = defaultRuntimeBytes, textProcess = false, pastBytes = 0 } = this.#options;
    const bytes = {
      vectors: estimate.vectorBytes + this.#edgeBytes,
      adapters: estimate.adapterBytes,
      kv: estimate.kvBytes + estimate.slotBytes,
      activations:
        estimate.activationBytes +
        estimate.ropeBytes +
        estimate.scratchBytes +
        maxRows * tables.reduce((sum, { slices }) => sum + slices.bytes, 0),
      tokenizer: tokenizerBytesPerToken * vocab,
      constraints: constraintBytes(vocab),
      pasts: pastBytes,
      runtime: runtimeBytes + (textProcess ? textProcessBytes(vocab) : 0),
    };
    return { ...bytes, total: sumOf(bytes) };
  }

  #estimate(contextTokens: number, kvTokens: number, maxRows: number): MemoryEstimate {
    const { sequences = 1, logitRows = defaultLogitRows, check = false, kvMemoryBytes } = this.#options;
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
          checkpoints: this.checkpoints,
          kvType: this.#options.kvType ?? "f16",
          ...(kvMemoryBytes !== undefined && { kvMemory: { bytes: kvMemoryBytes, folder: "" } }),
          maxLogitRows: Math.min(logitRows, maxRows),
          programs: this.#model.programs,
          ...(check && { rewrite: withChecks }),
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
