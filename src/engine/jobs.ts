/**
 * Questions to an engine and its answers: a job is a request, its answers are events and one result. Everything here
 * can be structured-cloned, since the engine usually lives in a thread or a process of its own.
 */
import type { PoolingName } from "../models/index.js";
import type { MachineUse } from "../ops/ops.js";
import type { ProfileReport } from "../ops/profiler.js";
import type { SamplerState, SamplingSettings } from "../sampling/chain.js";
import type { LeftOut } from "../sampling/constraint/grammar/rule-book.js";
import type { Violation } from "../sampling/constraint/json/validate.js";
import type { Constraint } from "../sampling/constraint/source.js";
import type { TokenLogprobs } from "../sampling/logprobs.js";
import type { LiveDiskStatus } from "../weights/live-disk.js";
import type { DraftCount, DraftCounts, DraftMode } from "./drafts/drafter.js";
import type { ThinkingLimit } from "./thinking-budget.js";
import type { Roll, WhenFull } from "./when-full.js";

export type { DraftCount, DraftCounts, DraftMode, ProfileReport, SamplerState, TokenLogprobs, WhenFull };

export type Prompt =
  | { readonly kind: "text"; readonly text: string; readonly addSpecial?: boolean; readonly parseSpecial?: boolean }
  | { readonly kind: "segments"; readonly segments: readonly { readonly text: string; readonly user: boolean }[] }
  /**
   * A query and a document, as the file's template for reranking has them, or with the tokens between that stand
   * between two texts.
   */
  | { readonly kind: "pair"; readonly query: string; readonly document: string }
  | { readonly kind: "tokens"; readonly tokens: Int32Array };

/** A request for some of the model's adapters. */
export interface Adapted {
  /** How much each counts, by its number; those that are missing do not. Default: as the engine was opened. */
  readonly adapters?: AdapterScales;
}
export type AdapterScales = readonly number[];

/** A request of somebody, from whom others are kept apart. */
export interface Scoped {
  /**
   * The name of its owner: it goes on with pasts of the same name, in memory and on the disk, and with those in memory
   * that are nobody's in particular. Default: nobody in particular.
   */
  readonly scope?: string;
}

export interface GenerateRequest extends Adapted, Scoped {
  readonly kind: "generate";
  readonly prompt: Prompt;
  readonly sampling: SamplingSettings;
  /** -1 = until the context is full; where it goes on then, as many as the model was trained for. */
  readonly maxTokens: number;
  readonly stop: readonly string[];
  /** Bans the end-of-generation tokens. */
  readonly ignoreEos: boolean;
  /** Control tokens whose texts belong to the answer: they mark its parts. Default: none. */
  readonly shown?: readonly number[];
  /** Ends thinking after so many tokens. */
  readonly thinking?: ThinkingLimit;
  /** The form the answer has to have. */
  readonly constraint?: Constraint;
  /** Report each token's log-probability and that many likeliest ones beside it (0 = its own only). */
  readonly logprobs?: number;
  /** Those log-probabilities are of what the samplers left, by which a token is chosen. */
  readonly logprobsSampled?: boolean;
  /** The same for the prompt's tokens, from the second on: events `promptLogprobs`. */
  readonly promptLogprobs?: number;
  /** Each token tells the sampler's state behind it, with which `resume` goes on. */
  readonly resumable?: boolean;
  /** An answer that goes on where it was cut: its tokens are those of one that never was. */
  readonly resume?: Resume;
  /** Guesses ahead of the answer, checked a pass; default: the engine's. They change the time it takes, no token. */
  readonly drafts?: DraftMode;
  /** Its way when the context is full; what is not said is the engine's. */
  readonly whenFull?: Partial<WhenFull>;
  /** Tokens that are expected as the answer, or most of it: a file that is to be edited. Tried as drafts. */
  readonly prediction?: readonly number[];
  /** The user who asks: users who wait take turns. */
  readonly user?: string;
}

export interface Resume {
  /** So many tokens at the end of the prompt are the beginning of the answer; their texts are told first. */
  readonly tokens: number;
  readonly sampler: SamplerState;
}

/** A vector of a text, or of each of its tokens, from their final normalized hidden states. */
export interface EmbedRequest extends Adapted, Scoped {
  readonly kind: "embed";
  readonly prompt: Prompt;
  /** Default: the file's own, else the mean. */
  readonly pooling?: Exclude<PoolingName, "rank">;
  /** The norm that becomes 1; default 2, -1: vectors as they are, 0: the largest becomes 32760. */
  readonly normalize?: number;
  /** The first so many numbers, normalized behind the cut. Default: all. */
  readonly dimensions?: number;
  readonly user?: string;
}

/** Scores of a text or of a pair of texts, by the classification head of a reranker. */
export interface RankRequest extends Adapted, Scoped {
  readonly kind: "rank";
  readonly prompt: Prompt;
  readonly user?: string;
}

export interface ScoreRequest extends Adapted, Scoped {
  readonly kind: "score";
  readonly tokens: Int32Array;
  /** First position whose row is wanted. */
  readonly from: number;
  /** Whole rows, or the natural logarithm of the probability of the token that follows. */
  readonly output: "logits" | "logprobs";
  /** Beside each log-probability so many of the likeliest tokens: events `promptLogprobs` in place of `logprobs`. */
  readonly alternatives?: number;
}

/**
 * Times passes on fixed pseudo-random tokens: `prompt` rows in chunks, then from a timeline of `depth` tokens `decode`
 * passes of one row for each of `rows` sequences, greedy choice included. The past of `depth` tokens is not computed
 * but laid out: its first page is real, the others are copies of it, which costs attention the same.
 */
export interface MeasureRequest {
  readonly kind: "measure";
  readonly prompt: number;
  readonly decode: number;
  /** Positions before the prompt and before what is decoded; default 0. */
  readonly depth?: number;
  /** Default 1, at most `EngineOptions.sequences`. */
  readonly rows?: number;
}

export type JobRequest =
  | GenerateRequest
  | EmbedRequest
  | RankRequest
  /** Never ends by itself: events `status` after every pass and whenever jobs come and go, at most 20 a second. */
  | { readonly kind: "watch" }
  | ScoreRequest
  | MeasureRequest
  | { readonly kind: "tokenize"; readonly prompt: Prompt }
  | { readonly kind: "detokenize"; readonly tokens: Int32Array; readonly special: boolean }
  | { readonly kind: "memory" }
  /** Writes a session: tokens, what was evaluated of their beginning, and what its owner keeps as JSON. */
  | (Adapted &
      Scoped & {
        readonly kind: "saveSession";
        readonly path: string;
        readonly tokens: Int32Array;
        readonly about: string;
        /** Which texts have these tokens, for whoever renders the conversation again. */
        readonly texts?: string;
      })
  /** Reads one: what it holds is a past that prompts go on with. */
  | (Adapted & Scoped & { readonly kind: "loadSession"; readonly path: string })
  /** Sets how much each adapter counts where a request does not say; asks for it where nothing is given. */
  | { readonly kind: "adapters"; readonly scales?: AdapterScales }
  /** Asks for the profile since the last request of this kind. */
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
  /** Guesses among its rows, and how many of them were right. */
  readonly drafts: number;
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
  /** The part of `pinnedBytes` in expert slots. */
  readonly slotBytes: number;
  readonly ringBytes: number;
  /** The part of weights and ring that is locked against paging. */
  readonly lockedBytes: number;
  /** The machine it shares with other models of its process; absent where nothing is shared. */
  readonly machine?: MachineUse;
}

/** The state of the engine now. Counters run from the opening of the model. */
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
  /** All passes so far that one answer had to itself. */
  readonly answering: DecodeSums;
  /** The last pass: its ledger and how long it took. */
  readonly lastPass: (LedgerEntry & { readonly elapsedMs: number }) | undefined;
  /** Measured rates of the disk beside the planned ones; absent where nothing is streamed. */
  readonly liveDisk?: LiveDiskStatus;
}

/** Sums over passes of one answer and nothing else, guesses included. */
export interface DecodeSums {
  readonly passes: number;
  readonly tokens: number;
  /** Positions that each of the tokens had before it, together. */
  readonly positions: number;
  /** With what lies between passes. */
  readonly ms: number;
  /** The part of it that waited for the disk. */
  readonly stallMs: number;
}

export type FinishReason = "stop" | "length";

export interface GenerateResult {
  readonly kind: "generate";
  readonly finishReason: FinishReason;
  /** The one of `stop` that ended it. */
  readonly stopText?: string;
  /** Leading prompt tokens that were still evaluated from before. */
  readonly reusedTokens: number;
  readonly prefillMs: number;
  readonly prefillRows: number;
  readonly decodeMs: number;
  readonly decodeRows: number;
  /** Guesses that were evaluated; absent: there were none. */
  readonly drafts?: DraftCounts;
  /** Tokens that were left out of the full context; absent: none. */
  readonly leftOut?: number;
  /** For a schema that could not be enforced whole: where the finished answer breaks it, or that nobody knows. */
  readonly violations?: readonly Violation[] | "unknown";
}

export type JobResult =
  | GenerateResult
  /** [dimensions], or [tokens, dimensions] without pooling. */
  | { readonly kind: "embed"; readonly embedding: Float32Array; readonly tokens: number }
  | { readonly kind: "rank"; readonly scores: Float32Array; readonly tokens: number }
  | { readonly kind: "watch" }
  | { readonly kind: "score"; readonly computeMs: number }
  | { readonly kind: "measure"; readonly prefillMs: number; readonly decodeMs: number }
  | { readonly kind: "tokenize"; readonly tokens: Int32Array }
  | { readonly kind: "detokenize"; readonly text: string }
  | { readonly kind: "memory"; readonly memory: MemoryReport }
  /** Positions that need not be evaluated again. */
  | { readonly kind: "saveSession"; readonly positions: number }
  | {
      readonly kind: "loadSession";
      readonly tokens: Int32Array;
      readonly about: string;
      readonly texts?: string | undefined;
      readonly positions: number;
    }
  | { readonly kind: "adapters"; readonly scales: AdapterScales }
  | { readonly kind: "profile"; readonly profile: ProfileReport };

/** The context was full, and the answer goes on without `discard` of its tokens behind the first `keep`. */
export interface RolledEvent extends Roll {
  readonly kind: "rolled";
  /** Tokens that were left out so far. */
  readonly leftOut: number;
}

export type JobEvent =
  | { readonly kind: "prompt"; readonly tokens: Int32Array }
  /**
   * Tells what was there of the prompt's beginning when the job came. `differs`: where it is not what the past that
   * shares most of it goes on with, so that nothing from there on is there; the token is the prompt's own.
   */
  | {
      readonly kind: "prefix";
      /** Tokens of the prompt, and how many of them need not be evaluated. */
      readonly tokens: number;
      readonly reused: number;
      readonly differs?: {
        readonly at: number;
        readonly token: number;
        readonly text: string;
        /** Tokens of that past from there on. */
        readonly lost: number;
      };
    }
  /** The parts of the answer's schema that are not enforced. Comes before everything else. */
  | { readonly kind: "constraint"; readonly leftOut: readonly LeftOut[] }
  /**
   * The job waits: so many are before it. Not sent to those that start at once, nor to those that wait in the middle of
   * an answer.
   */
  | { readonly kind: "queued"; readonly ahead: number }
  | {
      readonly kind: "token";
      readonly id: number;
      readonly text: string;
      readonly logprobs?: TokenLogprobs;
      /** Behind this token; where the request is resumable. */
      readonly sampler?: SamplerState;
    }
  /** The texts of the tokens with which a resumed answer begins. Comes before everything else. */
  | { readonly kind: "resumed"; readonly texts: readonly string[] }
  /**
   * Log-probabilities of the prompt's tokens at positions `first`, `first` + 1 ...; the first token of a text has none.
   */
  | { readonly kind: "promptLogprobs"; readonly first: number; readonly logprobs: readonly TokenLogprobs[] }
  | { readonly kind: "status"; readonly status: EngineStatus }
  | RolledEvent
  /** Text that belongs to no new token: what was held back when generation ended. */
  | { readonly kind: "text"; readonly text: string }
  /** `total`: tokens of the prompt while it is read for the first token; otherwise 0. */
  | { readonly kind: "pass"; readonly entry: LedgerEntry; readonly done: number; readonly total: number }
  /** Whole rows from `position` on, [rows * vocab]. */
  | { readonly kind: "logits"; readonly position: number; readonly values: Float32Array }
  | { readonly kind: "logprobs"; readonly position: number; readonly values: Float64Array };
