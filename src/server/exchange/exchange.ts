/**
 * A conversation that a client wants to be answered, whichever API it speaks: what `answerExchange` takes, and what
 * every API's reader of requests makes. Checked by its reader; nothing in it is of one API only.
 */
import type { ChatMessage } from "../../chat/index.js";
import type { Constraint } from "../../sampling/constraint/source.js";
import type { AskedAdapters } from "../answers/adapters.js";
import type { SamplingInput } from "../answers/sampling.js";
import type { ExchangeTool, ToolChoice } from "./tools.js";

export interface Exchange {
  /** The model that was named; any name is answered by the one there is. */
  readonly model?: string | undefined;
  /**
   * In the form of Chat Completions, which templates were written for: calls as `tool_calls` of the assistant, results
   * as messages of the role `tool`, thinking as `reasoning_content`; system messages anywhere.
   */
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly ExchangeTool[];
  /** Default: as the model likes. */
  readonly toolChoice?: ToolChoice | undefined;
  /** Default true; false: at most one call an answer. */
  readonly parallelCalls?: boolean | undefined;
  /** The form of the answer; `param` names the field that asked for it. */
  readonly format?: Constraint | undefined;
  readonly sampling: SamplingInput;
  readonly thinking?: ThinkingWish | undefined;
  readonly stop: readonly string[];
  /** -1 = until the context is full. */
  readonly maxTokens: number;
  /** Answers that are wanted; answer i has the seed + i. Default 1. */
  readonly choices?: number | undefined;
  /** The answer that is expected, or most of it: tried as drafts, changes no token. */
  readonly prediction?: string | undefined;
  /** Likeliest tokens to report beside each one made; undefined = no log-probabilities. */
  readonly logprobs?: number | undefined;
  readonly ignoreEos?: boolean | undefined;
  /** Adapters by number, with their scales; default: as the server has them set. */
  readonly adapters?: AskedAdapters | undefined;
  readonly stream: boolean;
  readonly maxTimeMs?: number | undefined;
  /** Users who wait take turns. */
  readonly user?: string | undefined;
  readonly template?: TemplateWish | undefined;
}

export interface ThinkingWish {
  /** Whether the model should think, for templates that know a switch. Default: as the template has it. */
  readonly enabled?: boolean | undefined;
  /** A word that templates read: `low`, `medium`, `high`; `none` switches thinking off. */
  readonly effort?: string | undefined;
  /** Most tokens of thinking; it is then ended. Below 0: as many as the model wants. */
  readonly budget?: number | undefined;
  /** Thinking stays in the text, with its tags. */
  readonly inText?: boolean | undefined;
}

/** Wishes of those who know the template. */
export interface TemplateWish {
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  readonly addGenerationPrompt?: boolean | undefined;
  /** The answer goes on with a last message of the assistant. Default true. */
  readonly continueLast?: boolean | undefined;
  /** How the model writes calls, by name. */
  readonly dialect?: string | undefined;
}
