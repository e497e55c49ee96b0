/** Options an engine is opened with, and facts of its model once it is open. */
import type { PoolingName } from "../models/index.js";
import { type NumaMode, numaModes } from "../native/threads.js";
import type { KvCacheType } from "../ops/ops.js";
import type { ProfileSchedule } from "../ops/profiler.js";
import type { SamplingSettings } from "../sampling/chain.js";
import type { IoMode, PlanSummary, Strategy } from "../weights/plan-summary-types.js";
import type { DraftMode } from "./drafts/drafter.js";
import type { WhenFull } from "./when-full.js";

export type { IoMode };

export { type NumaMode, numaModes };

/** Every way of reading weights, for those who parse options. */
export const ioModes = ["auto", "mmap", "direct", "buffered"] as const satisfies readonly IoMode[];

/** An adapter beside the model. */
export interface AdapterOption {
  /** A GGUF file, or a folder of PEFT. */
  readonly path: string;
  /** How much it counts where a request does not say; default 1. */
  readonly scale?: number;
}

export interface EngineOptions {
  /** Adapters, in the order in which they are added; their number there is how requests name them. */
  readonly adapters?: readonly AdapterOption[];
  /** Positions a sequence may reach; default: what the model was trained for, at most 4096. */
  readonly contextTokens?: number;
  /** Most token rows of a pass. Default 512. */
  readonly chunkRows?: number;
  readonly kvType?: KvCacheType;
  /** Memory for the KV cache; of a longer context the rest lies on the disk. Default: all of it is in memory. */
  readonly kvMemoryBytes?: number;
  /** Default: one per physical core. */
  readonly threads?: number;
  /** Threads of passes of more than one token row: prompts, and several answers at once. Default: `threads`. */
  readonly threadsBatch?: number;
  readonly cpuList?: readonly number[];
  /**
   * Threads on the CPUs of all memory nodes, each node with the weight rows its threads read (`distribute`), or on one
   * (`isolate`). `numactl`: where the program was put, as without it.
   */
  readonly numa?: NumaMode;
  /** Instruction set of the kernels; default: the best this CPU has. */
  readonly isa?: string;
  /** `reference` = plain TypeScript, slow, the oracle. Default: native, or reference where the addon is missing. */
  readonly ops?: "native" | "reference";
  /** Memory budget: weights, ring, KV, activations, tokenizer and runtime. Default: what is free. */
  readonly memoryBytes?: number;
  /**
   * The owner of the budget `memoryBytes`: this model's own (default), or that of all models of this process, of
   * which it takes what the others were not promised.
   */
  readonly memoryOf?: "model" | "process";
  /** Streaming buffer. Default: what the plan finds best. */
  readonly ringBytes?: number;
  /** Pinned weights, expert slots and ring only; for tests. */
  readonly weightsMemoryBytes?: number;
  /**
   * Memory for states of earlier positions, of models that cannot go back: where later prompts begin. Default: the
   * plan's.
   */
  readonly checkpointBytes?: number;
  /** Default `auto`: mapped when everything fits, else read directly. `mmap` maps always and keeps no budget. */
  readonly io?: IoMode;
  /**
   * Most rows whose logits are made at once; more make `score` jobs faster and cost rows * vocab * 4 bytes. Default 16.
   */
  readonly logitRows?: number;
  /** Sequences whose rows a pass may mix: answers made at the same time. Default 1. */
  readonly sequences?: number;
  /**
   * The model stays: decoding as fast as can be matters more than loading soon. Default: with several sequences, and in
   * a server.
   */
  readonly stays?: boolean;
  /** Positions all sequences share, in pages; default: `contextTokens`, more when they cost no weights. */
  readonly kvTokens?: number;
  /** Jobs that may wait; one more fails with QUEUE_FULL. Default: no limit. */
  readonly queueLimit?: number;
  /**
   * A folder in which pasts outlive the process: prompts that begin alike are not read again. Default: none. Its bytes
   * are at most the smaller of 10 GiB and a tenth of what is free, unless `budgetBytes` says otherwise.
   */
  readonly pastStore?: { readonly folder: string; readonly budgetBytes?: number };
  /**
   * Guesses of the next tokens, checked in the pass of the newest one: as many as pay (`auto`, default), none, or
   * always so many where there are any. They change no token.
   */
  readonly drafts?: DraftMode;
  /**
   * The way of answers that have filled the context: they end (default), or go on without tokens behind those that
   * are kept. A shift is an approximation.
   */
  readonly whenFull?: WhenFull;
  /**
   * Blocks of the file that guess further tokens are bound, unless `drafts` is off or they would slow down every pass;
   * default true. Not beside a small model.
   */
  readonly draftBlocks?: boolean;
  /** The file of a small model with the same vocabulary that guesses for this one, within the same budget. */
  readonly draftModel?: string;
  /**
   * Where the engine lives, for the client: a thread of its own (default) or a process, whose end harms nobody else.
   */
  readonly place?: "thread" | "process";
  /**
   * A process for templates and texts runs beside the engine and is counted in the plan. `templates`: only when the
   * file has a template that is not our own. Default: there is none.
   */
  readonly textProcess?: boolean | "templates";
  /** Looks at every number and names the first that is not finite with layer, verb and tensor; slow. */
  readonly check?: boolean;
  /** Puts a clock around every operation; the `profile` job asks for the result. */
  readonly profile?: ProfileKind;
  /** Which passes a profile tells; without it all. */
  readonly profileSchedule?: ProfileSchedule;
}

/** A profile gathers sums per kind of call, or every call as well. */
export type ProfileKind = "times" | "trace";

/** Where weights lie, as it was planned. */
export interface ResidencyInfo {
  readonly strategy: Strategy;
  readonly io: Exclude<IoMode, "auto">;
  readonly budgetBytes: number;
  readonly plannedBytes: number | undefined;
  readonly predictedSecondsPerToken: number | undefined;
  /** Absent where nothing was planned: the plain TypeScript implementation. */
  readonly plan?: PlanSummary;
}

/** Vectors and scores a model makes of texts, beside text or instead. */
export interface VectorInfo {
  /** Undefined: the file names none. */
  readonly pooling: PoolingName | undefined;
  /** It makes vectors or scores and no text. */
  readonly only: boolean;
  /** Rows see rows after them: a text has to fit a pass. */
  readonly whole: boolean;
  /** The model pools rows itself by `pooling`, and what it pools goes through further products. */
  readonly pools: boolean;
  readonly projects: boolean;
  /** Names of a reranker's scores, which are probabilities or logits. */
  readonly labels: readonly string[];
  readonly softmax: boolean;
}

/** Facts of an opened model. */
export interface ModelInfo {
  readonly path: string;
  readonly name: string | undefined;
  readonly architecture: string;
  readonly ops: string;
  readonly vocab: number;
  /** Length of a hidden state, and so of an embedding. */
  readonly dim: number;
  readonly trainedContextTokens: number;
  readonly contextTokens: number;
  readonly chunkRows: number;
  readonly kvType: KvCacheType;
  /** Bytes of all tensors, and of those a pass of one row reads at most. */
  readonly weightBytes: number;
  readonly passWeightBytes: number;
  readonly residency: ResidencyInfo;
  readonly tokenizer: string;
  readonly addBos: boolean;
  readonly special: { readonly bos: number | undefined; readonly eos: number | undefined };
  readonly bosText: string;
  readonly eosText: string;
  readonly chatTemplate: string | undefined;
  /** Adapters, by their number; absent where there are none. */
  readonly adapters?: readonly { readonly path: string; readonly scale: number; readonly bytes: number }[];
  /** Absent: it makes text, and its file says nothing of vectors. */
  readonly vectors?: VectorInfo;
  /** The file's own sampling defaults (general.sampling.*). */
  readonly samplingDefaults: Partial<SamplingSettings>;
  /** Numbers of all tensors. */
  readonly parameters: number;
  /** The mix of types it was made with, where the file says so. */
  readonly fileType: string | undefined;
  /** Single values of the file's header, without the tokenizer's and long texts. */
  readonly header: Readonly<Record<string, string | number | boolean>>;
}
