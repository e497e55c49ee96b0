/**
 * Messages between the engine (a thread or a process of its own) and whoever uses it. Everything here
 * can be structured-cloned. A job is a request with a number; its answers are events, the last one `done` or `failed`.
 */
import type { ErrorCode } from "../errors.js";
import type { KvType, MachineUse } from "../ops/ops.js";
import type { ProfileReport } from "../ops/profiler.js";
import type { SamplingSettings } from "../sampling/chain.js";
import type { TokenLogprobs } from "../sampling/logprobs.js";
import type { LiveDiskStatus } from "../weights/live-disk.js";
import type { PlanSummary } from "../weights/plan-summary-types.js";
import type { Parcel } from "./parcels.js";

export type { TokenLogprobs };

export type IoMode = "auto" | "mmap" | "direct" | "buffered";

export interface EngineOptions {
  /** Positions a sequence may reach; default: what the model was trained for, at most 4096. */
  readonly contextTokens?: number;
  /** Most token rows of a pass. Default 512. */
  readonly chunkRows?: number;
  readonly kvType?: KvType;
  /** Default: one per physical core. */
  readonly threads?: number;
  readonly cpuList?: readonly number[];
  /** Instruction set of the kernels; default: the best this CPU has. */
  readonly isa?: string;
  /** `reference` = plain TypeScript, slow, the oracle. Default: native, or reference where the addon is missing. */
  readonly ops?: "native" | "reference";
  /** Memory budget: weights, ring, KV, activations, tokenizer and runtime. Default: what is free. */
  readonly memoryBytes?: number;
  /**
   * Whose budget `memoryBytes` is: this model's own (default), or that of all models of this process, of which it takes what the
   * others were not promised.
   */
  readonly memoryOf?: "model" | "process";
  /** Streaming buffer. Default: what the plan finds best. */
  readonly ringBytes?: number;
  /** Pinned weights, expert slots and ring only; for tests. */
  readonly weightsMemoryBytes?: number;
  /** Default `auto`: mapped when everything fits, else read directly. `mmap` maps always and keeps no budget. */
  readonly io?: IoMode;
  /** Most rows whose logits are made at once; more make `score` jobs faster and cost rows * vocab * 4 bytes. Default 16. */
  readonly logitRows?: number;
  /** Sequences whose rows a pass may mix: answers made at the same time. Default 1. */
  readonly sequences?: number;
  /** The model stays: decoding as fast as can be matters more than loading soon. Default: with several sequences. */
  readonly stays?: boolean;
  /** Positions all sequences share, in pages; default: `contextTokens`, more when they cost no weights. */
  readonly kvTokens?: number;
  /** Jobs that may wait; one more fails with QUEUE_FULL. Default: no limit. */
  readonly queueLimit?: number;
  /** Where the engine lives, for the client: a thread of its own (default) or a process, whose end harms nobody else. */
  readonly host?: "worker" | "process";
  /**
   * A process for templates and texts runs beside the engine and is counted in the plan. `templates`: only when the file has a template
   * that is not our own. Default: there is none.
   */
  readonly textProcess?: boolean | "templates";
  /** Puts a clock around every operation; the `profile` job asks for the result. */
  readonly profile?: ProfileKind;
}

/** What a profile gathers: sums per kind of call, or every call as well. */
export type ProfileKind = "times" | "trace";

/** Where weights lie, as it was planned. */
export interface ResidencyInfo {
  readonly strategy: "resident" | "streamed" | "experts";
  readonly io: "mmap" | "direct" | "buffered";
  readonly budgetBytes: number;
  readonly plannedBytes: number | undefined;
  readonly predictedSecondsPerToken: number | undefined;
  /** Absent where nothing was planned: the plain TypeScript implementation. */
  readonly plan?: PlanSummary;
}

/** What is known of an opened model. */
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
  readonly kvType: KvType;
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
  /** The file's own sampling defaults (general.sampling.*). */
  readonly samplingDefaults: Partial<SamplingSettings>;
}

export type Prompt =
  | { readonly kind: "text"; readonly text: string; readonly addSpecial?: boolean; readonly parseSpecial?: boolean }
  | { readonly kind: "segments"; readonly segments: readonly { readonly text: string; readonly user: boolean }[] }
  | { readonly kind: "tokens"; readonly tokens: Int32Array };

export interface GenerateRequest {
  readonly kind: "generate";
  readonly prompt: Prompt;
  readonly sampling: SamplingSettings;
  /** -1 = until the context is full. */
  readonly maxTokens: number;
  readonly stop: readonly string[];
  /** Bans the end-of-generation tokens. */
  readonly ignoreEos: boolean;
  /** Report each token's log-probability and that many likeliest ones beside it (0 = its own only). */
  readonly logprobs?: number;
  /** The same for the prompt's tokens, from the second on: events `promptLogprobs`. */
  readonly promptLogprobs?: number;
  /** Whose request it is: those who wait take turns by this name. */
  readonly user?: string;
}

/** One vector for a text: the mean of the final normalized hidden states of its tokens, or the last one; length 1. */
export interface EmbedRequest {
  readonly kind: "embed";
  readonly prompt: Prompt;
  readonly pooling: "mean" | "last";
  readonly user?: string;
}

export interface ScoreRequest {
  readonly kind: "score";
  readonly tokens: Int32Array;
  /** First position whose row is wanted. */
  readonly from: number;
  /** Whole rows, or the natural logarithm of the probability of the token that follows. */
  readonly output: "logits" | "logprobs";
}

/**
 * Times passes on fixed pseudo-random tokens: `prompt` rows in chunks, then from a timeline of `depth` tokens `decode`
 * passes of one row for each of `rows` sequences, greedy choice included. The past of `depth` tokens is not computed but
 * laid out: its first page is real, the others are copies of it, which costs attention the same.
 */
export interface MeasureRequest {
  readonly kind: "measure";
  readonly prompt: number;
  readonly decode: number;
  /** Default 0. */
  readonly depth?: number;
  /** Default 1, at most `EngineOptions.sequences`. */
  readonly rows?: number;
}

export type JobRequest =
  | GenerateRequest
  | EmbedRequest
  /** Never ends by itself: events `status` after every pass and whenever jobs come and go, at most 20 a second. */
  | { readonly kind: "watch" }
  | ScoreRequest
  | MeasureRequest
  | { readonly kind: "tokenize"; readonly prompt: Prompt }
  | { readonly kind: "detokenize"; readonly tokens: Int32Array; readonly special: boolean }
  | { readonly kind: "memory" }
  /** What was profiled since the last time. */
  | { readonly kind: "profile" };

/**
 * One line per pass. `pinnedBytes` are weight bytes used that were in memory. Bytes from disk and stalls stay 0 while
 * weights are mapped: the system reads behind our back. `computeMs` is the rest of the pass.
 */
export interface LedgerEntry {
  readonly position: number;
  readonly rows: number;
  readonly diskBytes: number;
  readonly pinnedBytes: number;
  readonly stallMs: number;
  readonly computeMs: number;
  readonly expertHits: number;
  readonly expertMisses: number;
  readonly acceptedDrafts: number;
}

/** Bytes allocated, and how much of them has been written to: untouched capacity takes no memory. */
export interface MemoryReport {
  readonly kvBytes: number;
  readonly kvTouchedBytes: number;
  readonly activationBytes: number;
  /** Estimate: activations are tables of `chunkRows` rows, of which the largest pass used some. */
  readonly activationTouchedBytes: number;
  readonly weightBytes: number;
  readonly allocations: number;
  /** Weights read into memory of our own, expert slots included; 0 when they are mapped. */
  readonly pinnedBytes: number;
  /** Of those, expert slots. */
  readonly slotBytes: number;
  readonly ringBytes: number;
  /** Of weights and ring, locked against paging. */
  readonly lockedBytes: number;
  /** What it shares with other models of its process; absent where nothing is shared. */
  readonly machine?: MachineUse;
}

/** What the engine does now. Counters run from the opening of the model. */
export interface EngineStatus {
  readonly running: number;
  readonly waiting: number;
  readonly paused: number;
  /** Positions in use, those of kept prefixes included, and how many there are. */
  readonly kvTokensUsed: number;
  readonly kvTokens: number;
  readonly passes: number;
  /** Read, or found in the cache. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  /** Times a job was sent back to wait because pages ran out, and rows that were evaluated again for it. */
  readonly preemptions: number;
  readonly recomputedTokens: number;
  /** The last pass: its ledger and how long it took. */
  readonly lastPass: (LedgerEntry & { readonly elapsedMs: number }) | undefined;
  /** What the disk gives beside what was planned; absent where nothing is streamed. */
  readonly liveDisk?: LiveDiskStatus;
}

export type FinishReason = "stop" | "length";

export interface GenerateResult {
  readonly kind: "generate";
  readonly finishReason: FinishReason;
  /** Leading prompt tokens that were still evaluated from before. */
  readonly reusedTokens: number;
  readonly prefillMs: number;
  readonly prefillRows: number;
  readonly decodeMs: number;
  readonly decodeRows: number;
}

export type JobResult =
  | GenerateResult
  | { readonly kind: "embed"; readonly embedding: Float32Array; readonly tokens: number }
  | { readonly kind: "watch" }
  | { readonly kind: "score"; readonly computeMs: number }
  | { readonly kind: "measure"; readonly prefillMs: number; readonly decodeMs: number }
  | { readonly kind: "tokenize"; readonly tokens: Int32Array }
  | { readonly kind: "detokenize"; readonly text: string }
  | { readonly kind: "memory"; readonly memory: MemoryReport }
  | { readonly kind: "profile"; readonly profile: ProfileReport };

export type JobEvent =
  | { readonly kind: "prompt"; readonly tokens: Int32Array }
  /** The job waits: so many are before it. Not sent to those that start at once, nor to those that wait in the middle of an answer. */
  | { readonly kind: "queued"; readonly ahead: number }
  | { readonly kind: "token"; readonly id: number; readonly text: string; readonly logprobs?: TokenLogprobs }
  /** Of the prompt's tokens at positions `first`, `first` + 1 ...; the first token of a text has none. */
  | { readonly kind: "promptLogprobs"; readonly first: number; readonly logprobs: readonly TokenLogprobs[] }
  | { readonly kind: "status"; readonly status: EngineStatus }
  /** Text that belongs to no new token: what was held back when generation ended. */
  | { readonly kind: "text"; readonly text: string }
  /** `total`: tokens of the prompt while it is read for the first token; otherwise 0. */
  | { readonly kind: "pass"; readonly entry: LedgerEntry; readonly done: number; readonly total: number }
  /** Whole rows from `position` on, [rows * vocab]. */
  | { readonly kind: "logits"; readonly position: number; readonly values: Float32Array }
  | { readonly kind: "logprobs"; readonly position: number; readonly values: Float64Array };

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export type ToEngine =
  | { readonly type: "open"; readonly path: string; readonly options: EngineOptions; readonly stop: Int32Array }
  | { readonly type: "submit"; readonly job: number; readonly request: JobRequest }
  | { readonly type: "cancel"; readonly job: number }
  /** A paused job keeps what it has and takes part in no pass. */
  | { readonly type: "pause" | "resume"; readonly job: number }
  /** Answered when its thread gets to it. */
  | { readonly type: "ping" }
  | { readonly type: "close" };

export type FromEngine =
  | { readonly type: "opened"; readonly info: ModelInfo }
  /** Opening gets on; counted are weights that are read into memory. */
  | { readonly type: "loading"; readonly loadedBytes: number; readonly totalBytes: number }
  | { readonly type: "openFailed"; readonly error: WireError }
  /** What happened in a pass, in order: a message costs as much as a row of a small model. */
  | { readonly type: "events"; readonly events: readonly Parcel[] }
  | { readonly type: "done"; readonly job: number; readonly result: JobResult }
  | { readonly type: "failed"; readonly job: number; readonly error: WireError }
  | { readonly type: "pong" }
  /** While there is work, every second: it got on, or it waits for the disk, or neither (then nothing is sent). */
  | { readonly type: "alive"; readonly reading: boolean }
  | { readonly type: "closed" };
