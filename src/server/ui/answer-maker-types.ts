/** Between answers and whoever makes them. */
import type { ChatMessage } from "../../chat/index.js";
import type { SamplerState } from "../../link/protocol.js";
import type { StoredResume } from "./conversation-file.js";
import type { AnswerStats, ConversationForm, ConversationSampling } from "./wire.js";

export interface MakerRequest {
  readonly conversation: string;
  readonly messages: readonly ChatMessage[];
  readonly sampling: ConversationSampling;
  readonly form?: ConversationForm | undefined;
  readonly goOn?: GoOn | undefined;
}

/** An answer that goes on where it was cut. */
export interface GoOn {
  /** The text there is of it. */
  readonly content: string;
  /** Its tokens and the sampler behind them; absent where they are not known: then the text goes on. */
  readonly resume?: StoredResume | undefined;
}

export interface MakerEvents {
  queued(ahead: number): void;
  /** It begins, and how long the prompt will take if nothing of it is cached; undefined where nobody knows. */
  started(promptTokens: number, expectedSeconds: number | undefined): void;
  /** After each pass over the prompt: positions there are, of how many, and those this pass added. */
  prompt(done: number, total: number, rows: number): void;
  /** The text of the tokens that an answer goes on with, read anew. */
  resumed(text: string): void;
  /** `sampler`: its state behind this token. */
  token(text: string, id: number, sampler: SamplerState | undefined): void;
  /** Text that belongs to no new token. */
  text(text: string): void;
}

export interface MadeAnswer {
  readonly finishReason: "stop" | "length";
  /** Counts the tokens made now. */
  readonly stats: AnswerStats;
}

export interface AnswerMaker {
  /** Name of the model that would answer now. */
  readonly model: string | undefined;
  /**
   * Takes a place among the answers of the server.
   * @returns gives it back
   * @throws when there is no model or no place
   */
  enter(): () => void;
  /** Rejects with CANCELLED after `signal`, else with what went wrong. */
  answer(request: MakerRequest, events: MakerEvents, signal: AbortSignal): Promise<MadeAnswer>;
}
