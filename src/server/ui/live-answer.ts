/** An answer while it is made: its text, its tokens, and what is told of its progress. */
import type { SamplerState } from "../../link/protocol.js";
import type { MakerEvents } from "./answer-maker-types.js";
import { limits, type StoredMessage, shownMessage } from "./conversation-file.js";
import type { AnswerProgress, AnswerStats, ConversationEvent, DraftStat, DraftStats } from "./wire.js";

const tellProgressEveryMs = 250;
/** Tokens per second over this long. */
const rateWindowMs = 10_000;

export class LiveAnswer {
  readonly conversation: string;
  /** As it began: one that goes on has a content, tokens and stats already. */
  readonly message: StoredMessage;
  readonly abort = new AbortController();
  readonly events: MakerEvents;
  text: string;
  progress: AnswerProgress | undefined;
  /** Too long to be kept whole. */
  full = false;
  /** From its first token on, by the clock of the server: of an answer that is cut nobody else tells. */
  #stats: AnswerStats | undefined;
  readonly #tokens: number[];
  #sampler: SamplerState | undefined;
  readonly #publish: (event: ConversationEvent) => void;
  #told = Number.NEGATIVE_INFINITY;

  /** @param longest tokens it may still have; undefined where it may go on to the end of the context */
  constructor(
    conversation: string,
    message: StoredMessage,
    longest: number | undefined,
    publish: (event: ConversationEvent) => void,
  ) {
    this.conversation = conversation;
    this.message = message;
    this.text = message.content;
    this.#tokens = [...(message.resume?.tokens ?? [])];
    this.#publish = publish;
    this.events = this.#makeEvents(longest);
  }

  /** As it is stored now. */
  get stored(): StoredMessage {
    const { message, text } = this;
    return { ...message, content: text, ...this.#resume };
  }

  get stats(): AnswerStats | undefined {
    return this.#stats === undefined ? this.message.stats : joined(this.message.stats, this.#stats);
  }

  /** @param now of the tokens made since it began, or began again */
  statsWith(now: AnswerStats): AnswerStats {
    return joined(this.message.stats, now);
  }

  /** With what it goes on after a cut; nothing where a text was gone on with, whose tokens nobody knows. */
  get #resume(): Pick<StoredMessage, "resume"> {
    const { resume } = this.message;
    const known = this.message.content === "" || resume !== undefined;
    if (!known || this.#tokens.length === 0) return {};
    return { resume: this.#sampler === undefined ? resume! : { tokens: [...this.#tokens], ...this.#sampler } };
  }

  #append(text: string): void {
    if (text === "" || this.full) return;
    const from = this.text.length;
    const room = limits.messageCharacters - from;
    this.text += text.slice(0, room);
    this.#publish({ type: "delta", id: this.message.id, from, text: text.slice(0, room) });
    if (text.length < room) return;
    this.full = true;
    this.abort.abort();
  }

  #tell(progress: AnswerProgress, now: number, atOnce = false): void {
    this.progress = progress;
    if (!atOnce && now - this.#told < tellProgressEveryMs) return;
    this.#told = now;
    this.#publish({ type: "progress", id: this.message.id, progress });
  }

  #makeEvents(longest: number | undefined): MakerEvents {
    const append = (text: string) => this.#append(text);
    let promptBegan = performance.now();
    let promptRows = 0;
    let promptTokens = 0;
    let cachedTokens = 0;
    let firstTokenAt = 0;
    let tokens = 0;
    const recent: { at: number; tokens: number }[] = [];
    return {
      queued: (ahead) => {
        promptBegan = performance.now();
        this.#tell({ phase: "queued", ahead }, promptBegan, true);
      },
      started: (total, expectedSeconds) => {
        promptBegan = performance.now();
        promptTokens = total;
        const known = expectedSeconds === undefined ? {} : { remainingSeconds: expectedSeconds };
        this.#tell({ phase: "prompt", done: 0, total, elapsedSeconds: 0, ...known }, promptBegan, true);
      },
      prompt: (done, total, rows) => {
        const now = performance.now();
        if (promptRows === 0) cachedTokens = Math.max(0, done - rows);
        promptRows += rows; // cached positions took no time
        const elapsedSeconds = (now - promptBegan) / 1000;
        const remainingSeconds = promptRows > 0 ? ((total - done) * elapsedSeconds) / promptRows : undefined;
        const known = remainingSeconds === undefined ? {} : { remainingSeconds };
        this.#tell({ phase: "prompt", done, total, elapsedSeconds, ...known }, now, true);
      },
      resumed: (text) => {
        if (text === this.text) return;
        this.text = text;
        this.#publish({ type: "message", message: shownMessage({ ...this.message, content: text }) });
      },
      token: (text, id, sampler) => {
        append(text);
        if (!this.full) {
          this.#tokens.push(id);
          this.#sampler = sampler;
        }
        const at = performance.now();
        if (tokens++ === 0) firstTokenAt = at;
        const [prefillMs, decodeMs] = [firstTokenAt - promptBegan, at - firstTokenAt];
        this.#stats = { promptTokens, cachedTokens, generatedTokens: tokens, prefillMs, decodeMs };
        recent.push({ at, tokens });
        while (recent.length > 2 && recent[1]!.at < at - rateWindowMs) recent.shift();
        const seconds = (at - recent[0]!.at) / 1000;
        const tokensPerSecond = seconds > 0 ? (tokens - recent[0]!.tokens) / seconds : 0;
        const { generatedTokens, promptTokens: ofPrompt } = this.stats!;
        const left = longest !== undefined && tokensPerSecond > 0 ? (longest - tokens) / tokensPerSecond : undefined;
        const progress = {
          phase: "answer",
          promptTokens: ofPrompt,
          tokens: generatedTokens,
          tokensPerSecond,
          elapsedSeconds: (at - promptBegan) / 1000,
          ...(left !== undefined && { remainingSeconds: left }),
        } as const;
        this.#tell(progress, at);
      },
      text: append,
    };
  }
}

/** An answer that went on: its prompt is the one of its beginning, and took the time of all readings. */
function joined(before: AnswerStats | undefined, now: AnswerStats): AnswerStats {
  if (before === undefined) return now;
  return {
    promptTokens: before.promptTokens,
    cachedTokens: before.cachedTokens,
    generatedTokens: before.generatedTokens + now.generatedTokens,
    prefillMs: before.prefillMs + now.prefillMs,
    decodeMs: before.decodeMs + now.decodeMs,
    ...joinedDrafts(before.drafts, now.drafts),
  };
}

function joinedDrafts(before: DraftStats = {}, now: DraftStats = {}): Pick<AnswerStats, "drafts"> {
  const drafts: { -readonly [source in keyof DraftStats]: DraftStats[source] } = { ...before };
  for (const [source, { tried, right }] of Object.entries(now) as [keyof DraftStats, DraftStat][]) {
    const old = drafts[source] ?? { tried: 0, right: 0 };
    drafts[source] = { tried: old.tried + tried, right: old.right + right };
  }
  return Object.keys(drafts).length > 0 ? { drafts } : {};
}
