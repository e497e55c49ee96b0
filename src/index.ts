/** The public API. */

export type { ChatMessage, ReplyCall, ReplyEvent } from "./chat/index.js";
export { type ErrorCode, HundredweightError } from "./errors.js";
export {
  type GenerateOptions,
  Generation,
  type GenerationResult,
  type GenerationTimings,
} from "./library/generation.js";
export {
  type ChatOptions,
  type Embedding,
  type EmbedOptions,
  type LoadOptions,
  load,
  Model,
  type Ranking,
  type RerankOptions,
} from "./library/model.js";
export type {
  AdapterOption,
  EngineOptions,
  FinishReason,
  IoMode,
  LedgerEntry,
  MemoryReport,
  ModelInfo,
} from "./link/protocol.js";
export type { KvCacheType, KvType } from "./ops/ops.js";
export { defaultSampling, type SamplingSettings } from "./sampling/chain.js";
export type { SchemaOptions } from "./sampling/constraint/json/compile.js";
export type { Constraint } from "./sampling/constraint/source.js";
