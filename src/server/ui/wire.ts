/**
 * Messages between the page and its server under /ui. Types only, without Node and without a browser: both sides
 * are compiled against this file.
 */

import type { FolderListing } from "../../store/listing.js";
import type { PlanSummary } from "../../weights/plan-summary-types.js";
import type { ComputeCosts, TokenCompute } from "../../weights/prompt-seconds.js";

export type { FolderListing, FolderModel, PlanReport } from "../../store/listing.js";
export type { PullPlan } from "../../store/pull/preview-types.js";
export type { MapTensor, ModelMap, PlanBytes, PlanSummary, TensorPlace } from "../../weights/plan-summary-types.js";

export type Role = "user" | "assistant";

/** How the next token is chosen; what is absent is the model's own default. */
export interface ConversationSampling {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repeatPenalty?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly penaltyLastTokens?: number;
  readonly typical?: number;
  readonly topNSigma?: number;
  readonly xtcProbability?: number;
  readonly xtcThreshold?: number;
  readonly dryMultiplier?: number;
  readonly dryBase?: number;
  readonly dryAllowedLength?: number;
  readonly mirostat?: number;
  readonly mirostatTau?: number;
  readonly mirostatEta?: number;
  readonly seed?: number;
  readonly maxTokens?: number;
}

/** The form of answers and what they may call; nothing is asked for by what is absent. */
export interface ConversationForm {
  /** JSON Schema of the answers, as a text. */
  readonly schema?: string;
  /** Tools the model may call: a JSON list as OpenAI's API has it, as a text. */
  readonly tools?: string;
  readonly effort?: "none" | "low" | "medium" | "high";
}

/** How an answer went. */
export interface AnswerStats {
  readonly promptTokens: number;
  /** Leading prompt tokens that needed no evaluation. */
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** Guesses of next tokens that were evaluated, by their source; absent: there were none. */
  readonly drafts?: DraftStats;
}

/** Guesses that were evaluated, and how many of them were right. */
export interface DraftStat {
  readonly tried: number;
  readonly right: number;
}

/** By the constraint, what the caller expects, the text so far, earlier answers, a small model, blocks of the file. */
export type DraftSource = "forced" | "prediction" | "lookup" | "earlier" | "model" | "mtp";
export type DraftStats = Readonly<Partial<Record<DraftSource, DraftStat>>>;

/** `interrupted`: the server ended while it ran. */
export type AnswerState = "running" | "stop" | "length" | "stopped" | "failed" | "interrupted";

export interface Message {
  readonly id: string;
  /** The message it follows; null begins the conversation. Messages of one parent are branches. */
  readonly parent: string | null;
  readonly role: Role;
  readonly content: string;
  readonly createdAt: string;
  /** The fields of answers only. */
  readonly state?: AnswerState;
  readonly model?: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly stats?: AnswerStats;
  /** Why its state is `length`: the context was full, or so many tokens were the longest answer asked for. */
  readonly cut?: "context" | number;
  /** The settings it was made with, its seed included. */
  readonly sampling?: ConversationSampling;
  /** The first message the model saw, where those before it were left out. */
  readonly seenFrom?: string;
}

/** A token, and how likely the model found it there before sampling changed anything. */
export interface WeighedToken {
  readonly text: string;
  readonly probability: number;
}

/** A token of an answer. */
export interface ChosenToken extends WeighedToken {
  /** The likeliest tokens at its place, the first one first. */
  readonly likeliest: readonly WeighedToken[];
}

/** A message that waits for the end of the answer before it. */
export interface NextMessage {
  readonly id: string;
  /** The answer it follows. */
  readonly after: string;
  readonly content: string;
  readonly createdAt: string;
}

export interface ConversationHeader {
  readonly id: string;
  readonly title: string;
  /** Listed before all others. */
  readonly pinned?: boolean | undefined;
  /** Listed under this name. */
  readonly folder?: string | undefined;
  readonly createdAt: string;
  readonly updatedAt: string;
}

export interface Conversation extends ConversationHeader {
  readonly system: string;
  readonly sampling: ConversationSampling;
  readonly form?: ConversationForm;
  /** The branch that is shown: its last message. */
  readonly leaf: string | null;
  /** The first message the model sees of a branch it is on; those before it are left out. */
  readonly seenFrom?: string | undefined;
  /** Sent one after the other, each when the answer before it has ended. */
  readonly next?: readonly NextMessage[];
  /** The server that sends them, by its seat: see seats.ts. */
  readonly seat?: number;
  readonly messages: readonly Message[];
}

export interface ConversationRow extends ConversationHeader {
  readonly messages: number;
  /** Messages that wait to be sent. */
  readonly waiting: number;
  readonly running: boolean;
  /** Where a message holds what was searched for. */
  readonly excerpt?: string;
}

/** An answer that is being made, or a message that waits for one. */
export interface QueueRow {
  readonly conversation: string;
  readonly title: string;
  /** Names an answer; absent for a message that waits. */
  readonly message?: string;
  readonly progress?: AnswerProgress;
  /** The beginning of a message that waits. */
  readonly content?: string;
  readonly next?: string;
}

/** The progress of an answer; not stored. */
export type AnswerProgress =
  | { readonly phase: "queued"; readonly ahead: number }
  | {
      readonly phase: "prompt";
      readonly done: number;
      readonly total: number;
      /** Seconds since the first pass of this prompt began. */
      readonly elapsedSeconds: number;
      /** Undefined until a pass told how long one takes. */
      readonly remainingSeconds?: number;
    }
  | {
      readonly phase: "answer";
      readonly promptTokens: number;
      readonly tokens: number;
      readonly tokensPerSecond: number;
      readonly elapsedSeconds: number;
      /** Until the longest answer that was asked for; absent where none was. */
      readonly remainingSeconds?: number;
    };

/** Events of one conversation, the first always a snapshot. */
export type ConversationEvent =
  | {
      readonly type: "snapshot";
      readonly conversation: Conversation;
      readonly progress: Readonly<Record<string, AnswerProgress>>;
    }
  | { readonly type: "settings"; readonly conversation: Omit<Conversation, "messages"> }
  | { readonly type: "message"; readonly message: Message }
  /** Text to be appended; `from` is the length before, in UTF-16 units. */
  | { readonly type: "delta"; readonly id: string; readonly from: number; readonly text: string }
  | { readonly type: "progress"; readonly id: string; readonly progress: AnswerProgress }
  | { readonly type: "deleted" };

export interface ModelCard {
  readonly name: string;
  readonly architecture: string;
  readonly weightBytes: number;
  readonly contextTokens: number;
  readonly trainedContextTokens: number;
  readonly kvType: string;
  readonly ops: string;
  readonly hasTemplate: boolean;
  readonly sampling: ConversationSampling;
}

export type ModelState =
  | { readonly state: "none" }
  | {
      readonly state: "loading";
      readonly name: string;
      readonly seconds: number;
      /** 0 of 0 while nobody knows. */
      readonly loadedBytes: number;
      readonly totalBytes: number;
      /** Its engine ended by itself, and why. */
      readonly restarting: boolean;
      readonly error?: string;
    }
  | { readonly state: "ready"; readonly model: ModelCard }
  | { readonly state: "failed"; readonly name: string; readonly error: string };

/** The costs of the model's passes: measured, or planned. */
export interface PassCosts {
  /** Rows of a prompt that a pass reads at most. */
  readonly chunkRows: number;
  /** The computing of a token of an answer, by the positions before it. */
  readonly token: TokenCompute;
  /** The least a token takes where it is planned: reading what is not in memory, beside computing. */
  readonly leastTokenSeconds: number;
  /** The time that a token waited for the disk, where that was measured: it comes on top of computing. */
  readonly tokenWaitSeconds: number;
  /** The computing of passes of many rows. */
  readonly compute: ComputeCosts;
  /** The least a pass of many rows takes: it reads what is not in memory. */
  readonly passSeconds: number;
  /** The same of the next pass, when it is the first of all. */
  readonly firstPassSeconds?: number;
  /** Nobody has measured what they rest on. */
  readonly guessed: boolean;
}

export interface PageState {
  readonly version: string;
  /** When the server was started: another time means another server. */
  readonly startedAt: string;
  /** Running answers may end, nothing new is taken. */
  readonly draining: boolean;
  readonly model: ModelState;
  /** A folder of models to choose from was given. */
  readonly hasFolder: boolean;
  /** The model that is opened when the answers that run have ended. */
  readonly changesTo?: string;
}

/** A message that was sent, and the answer to it that is being written. */
export interface SentMessage extends Message {
  readonly answer: string;
}

/** Models to choose from, for one client. */
export interface ModelChoice extends FolderListing {
  /** This client may have models fetched, and they will be among these. */
  readonly mayPull: boolean;
}

/** A model that is being fetched, or was a moment ago. */
export interface PullState {
  readonly id: string;
  /** As it was asked for. */
  readonly word: string;
  readonly phase: "running" | "done" | "failed" | "cancelled";
  /** 0 of 0 while nobody knows. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** The rate of the last seconds; absent before. */
  readonly bytesPerSecond?: number;
  /** Why it failed, or a word about what goes on. */
  readonly note?: string;
}

/** One point of the live charts: what happened since the point before. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly seconds: number;
  readonly running: number;
  readonly waiting: number;
  readonly kvTokensUsed: number;
  readonly kvTokens: number;
  readonly passes: number;
  readonly generatedTokens: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** The passes whose ledger was seen: their number, rows and costs. */
  readonly seen: {
    readonly passes: number;
    readonly rows: number;
    readonly diskBytes: number;
    readonly pinnedBytes: number;
    readonly stallMs: number;
    readonly computeMs: number;
    readonly expertHits: number;
    readonly expertMisses: number;
  };
}

/** Bytes really in use. */
export interface MemoryNow {
  readonly serverRssBytes: number;
  readonly kvBytes: number;
  readonly kvTouchedBytes: number;
  readonly activationBytes: number;
  readonly activationTouchedBytes: number;
  /** Expert slots included. */
  readonly pinnedBytes: number;
  readonly slotBytes: number;
  readonly ringBytes: number;
  readonly lockedBytes: number;
}

export type MachineEvent =
  | { readonly type: "state"; readonly state: PageState }
  | { readonly type: "plan"; readonly plan: PlanSummary | null }
  | { readonly type: "history"; readonly samples: readonly Sample[] }
  | { readonly type: "sample"; readonly sample: Sample }
  | { readonly type: "memory"; readonly memory: MemoryNow | null }
  | { readonly type: "costs"; readonly costs: PassCosts | null }
  /** All that are fetched. */
  | { readonly type: "pulls"; readonly pulls: readonly PullState[] }
  /** The list of conversations has changed. */
  | { readonly type: "conversations" };
