/**
 * The turns of a conversation, and which of them fit the context: when it is full the oldest are left out, a user's
 * message and its answer together. How many tokens a turn takes is known once it has been evaluated.
 */

import type { ChatMessage } from "../../chat/index.js";
import { defaultMaxTokens } from "../../library/generation.js";

export interface Turn {
  readonly user: string;
  /** Calls of tools and their results, before the answer. */
  steps: readonly ChatMessage[];
  answer: string | undefined;
  /** Tokens of message and answer with what the template puts around them; undefined: not evaluated yet. */
  tokens: number | undefined;
}

/** The share of the context from which on a warning is shown. */
const fullShare = 0.8;
/** Room kept for an answer, at most: of the context, and what an answer has by default. */
const answerShare = 1 / 4;

export class Turns {
  readonly list: Turn[] = [];
  readonly contextTokens: number;
  /** Tokens of the system message, which stays. */
  systemTokens = 0;
  private warned = false;

  constructor(contextTokens: number) {
    this.contextTokens = contextTokens;
  }

  /** Tokens of everything that was evaluated and not left out. */
  get usedTokens(): number {
    return this.list.reduce((sum, { tokens = 0 }) => sum + tokens, this.systemTokens);
  }

  clear(): void {
    this.list.length = 0;
    this.warned = false;
  }

  add(user: string): Turn {
    const turn: Turn = { user, steps: [], answer: undefined, tokens: undefined };
    this.list.push(turn);
    return turn;
  }

  /**
   * Leaves out the oldest turns until the newest and an answer have room.
   * @param messageTokens of the newest message
   * @param maxTokens of the answer; negative or undefined: as many as usual
   * @returns how many were left out
   */
  makeRoom(messageTokens: number, maxTokens?: number): number {
    const most = maxTokens === undefined || maxTokens < 0 ? defaultMaxTokens : maxTokens;
    const room = Math.min(most, Math.floor(this.contextTokens * answerShare));
    let left = 0;
    while (this.list.length > 1 && this.usedTokens + messageTokens + room > this.contextTokens) {
      this.dropOldest();
      left++;
    }
    return left;
  }

  /** @returns false when only the newest is there */
  dropOldest(): boolean {
    if (this.list.length < 2) return false;
    this.list.splice(0, 1);
    return true;
  }

  /** After an answer. @param total tokens of prompt and answer */
  evaluated(turn: Turn, total: number): void {
    turn.tokens = undefined;
    turn.tokens = Math.max(0, total - this.usedTokens);
  }

  get share(): number {
    return this.usedTokens / this.contextTokens;
  }

  /** True once each time the context becomes nearly full. */
  warns(): boolean {
    const nearly = this.share >= fullShare;
    const warns = nearly && !this.warned;
    this.warned = nearly;
    return warns;
  }
}
