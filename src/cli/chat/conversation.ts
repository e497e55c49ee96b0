/** A conversation: what was said, what is set, and the answers; nothing of terminals and lines. */
import type { ReplyCall, ReplyEvent } from "../../chat/index.js";
import { asHundredweightError } from "../../errors.js";
import type { Generation, GenerationResult } from "../../library/generation.js";
import type { Model } from "../../library/model.js";
import { generateOptions, type SamplingFlags } from "../options/sampling-options.js";
import { tellRolled } from "../options/when-full-option.js";
import { messagesOf, noteAnswer, noteResult, readSaved, savedText } from "./saved.js";
import { type Turn, Turns } from "./turns.js";

/** Marks of the template around a message, about. */
const templateTokens = 8;

export interface Listener {
  /** A part of the answer: of its text, of its thinking. */
  part(event: ReplyEvent): void;
  /** A line about the answer: turns left out, context nearly full, stopped, failed. */
  note(text: string): void;
}

export class Conversation {
  readonly model: Model;
  readonly raw: boolean;
  readonly turns: Turns;
  flags: SamplingFlags;
  private said: string | undefined;
  private readonly listener: Listener;
  private answering: AbortController | undefined;
  /** Calls of the last answer whose results are not given yet, and the turn that they are of. */
  private calls: readonly ReplyCall[] = [];
  private readonly tools: readonly unknown[] | undefined;
  /** Those of the last prompt and its answer. */
  private tokens: readonly number[] = [];

  constructor(
    model: Model,
    flags: SamplingFlags & { readonly tools?: readonly unknown[] },
    raw: boolean,
    listener: Listener,
  ) {
    this.model = model;
    this.flags = flags;
    this.tools = flags.tools;
    this.raw = raw;
    this.listener = listener;
    this.turns = new Turns(model.info.contextTokens);
  }

  get system(): string | undefined {
    return this.said;
  }

  async setSystem(text: string | undefined): Promise<void> {
    this.said = text;
    const tokens = text === undefined ? 0 : (await this.model.tokenize(text)).length + templateTokens;
    this.turns.systemTokens = tokens;
  }

  /** @returns whether there was an answer to stop */
  stop(): boolean {
    if (this.answering === undefined || this.answering.signal.aborted) return false;
    this.answering.abort();
    return true;
  }

  /** @throws ENGINE_CLOSED, INTERNAL; everything else is told and the conversation goes on */
  async say(text: string): Promise<GenerationResult | undefined> {
    this.calls = [];
    return this.answer(this.turns.add(text));
  }

  /** Keeps the conversation in a file.  @returns positions that need not be evaluated again  @throws FILE_IO */
  async save(path: string): Promise<number> {
    const { raw, said, turns, calls, model } = this;
    const saved = { raw, system: said, turns: turns.list, calls };
    return model.saveSession(path, turns.list.length === 0 ? [] : this.tokens, savedText(saved));
  }

  /**
   * Goes on with the conversation of a file instead of this one.
   * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, SESSION_MISFIT; this one stays then
   */
  async load(path: string): Promise<void> {
    const { tokens, about } = await this.model.loadSession(path);
    const { system, turns, calls } = readSaved(path, about, this.raw);
    await this.setSystem(system);
    this.turns.clear();
    this.turns.list.push(...turns);
    this.calls = calls;
    this.tokens = tokens;
  }

  /** The tool whose result comes next; undefined: none was called. */
  get wanted(): string | undefined {
    return this.turns.list.length === 0 ? undefined : this.calls[0]?.name;
  }

  /** Gives the result of a call; with the last one the model goes on. */
  async give(result: string): Promise<GenerationResult | undefined> {
    const [call, ...rest] = this.calls;
    const turn = this.turns.list.at(-1);
    if (call === undefined || turn === undefined) return undefined;
    this.calls = rest;
    noteResult(turn, call, result);
    return rest.length > 0 ? undefined : this.answer(turn);
  }

  /** @returns undefined when there is nothing to answer again */
  async again(): Promise<boolean> {
    const turn = this.turns.list.at(-1);
    if (this.raw || turn === undefined) return false;
    this.calls = [];
    turn.steps = [];
    turn.answer = undefined;
    turn.tokens = undefined;
    await this.answer(turn);
    return true;
  }

  private async answer(turn: Turn): Promise<GenerationResult | undefined> {
    const { turns, listener } = this;
    const messageTokens = await this.count(turn.user);
    this.leftOut(turns.makeRoom(messageTokens, this.flags.maxTokens));
    for (;;) {
      const controller = new AbortController();
      this.answering = controller;
      let text = "";
      try {
        const generation = this.generation(controller.signal);
        for await (const event of generation.parts()) {
          listener.part(event);
          // Thinking is not repeated to the model: its makers train it without.
          if (event.kind === "content") text += event.text;
        }
        const result = await generation.result();
        this.calls = noteAnswer(turn, text, result);
        this.tokens = [...result.promptTokens, ...result.tokens];
        turns.evaluated(turn, result.promptTokens.length + result.tokens.length);
        this.tellContext(result);
        return result;
      } catch (thrown) {
        const error = asHundredweightError(thrown);
        // What was counted was an estimate.
        if (error.code === "CONTEXT_EXCEEDED" && text === "" && turns.dropOldest()) {
          this.leftOut(1);
          continue;
        }
        if (error.code === "ENGINE_CLOSED" || error.code === "INTERNAL") throw error;
        // What was said stays said, also when it was stopped: /regen replaces it. What does not fit must not stay in
        // the way.
        if (text !== "") {
          turn.answer = text;
          turns.evaluated(turn, turns.usedTokens + messageTokens + (await this.count(text)));
        } else if (error.code !== "CANCELLED" || this.raw) turns.list.pop();
        listener.note(error.code === "CANCELLED" ? "[stopped]" : `error[${error.code}]: ${error.message}`);
        return undefined;
      } finally {
        this.answering = undefined;
      }
    }
  }

  private async count(text: string): Promise<number> {
    // A text that cannot fit is not worth counting.
    if (text.length > 32 * this.turns.contextTokens) return this.turns.contextTokens;
    return (await this.model.tokenize(text)).length + (this.raw ? 1 : templateTokens);
  }

  private leftOut(count: number): void {
    if (count === 0) return;
    this.listener.note(
      `(the context of ${this.turns.contextTokens} tokens is full: ` +
        `${count === 1 ? "the oldest turn is" : `the ${count} oldest turns are`} left out)`,
    );
  }

  private tellContext(result: GenerationResult): void {
    const { turns } = this;
    const full = result.finishReason === "length" && turns.usedTokens >= turns.contextTokens;
    if (full) this.listener.note("(the context is full: the answer ends here)");
    if (turns.warns())
      this.listener.note(
        `(the context is ${Math.round(100 * turns.share)} % full, ${turns.usedTokens} of ` +
          `${turns.contextTokens} tokens: ` +
          "when it is full the oldest turns are left out; /clear forgets all of them)",
      );
  }

  private generation(signal: AbortSignal): Generation {
    const options = { ...generateOptions(this.flags), signal, onRolled: tellRolled };
    const { list } = this.turns;
    if (this.raw)
      return this.model.generate(list.map(({ user, answer = "" }) => `${user}${answer}`).join("\n"), options);
    return this.model.chat(messagesOf(this.said, list), { ...options, tools: this.tools });
  }
}
