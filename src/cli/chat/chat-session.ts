/** `run --session FILE` with a chat template: a conversation of which each run adds a message and its answer. */
import { existsSync } from "node:fs";
import { HundredweightError } from "../../errors.js";
import type { Generation, GenerationResult } from "../../library/generation.js";
import type { ChatOptions, Model } from "../../library/model.js";
import { messagesOf, noteAnswer, noteResult, readSaved, type SavedChat, savedText } from "./saved.js";
import type { Turn } from "./turns.js";

export class ChatSession {
  private readonly model: Model;
  private readonly path: string;
  private saved: SavedChat = { raw: false, turns: [], calls: [] };
  private turn: Turn | undefined;
  /** Tokens of an answer that goes on. */
  private resumed = 0;

  constructor(model: Model, path: string) {
    this.model = model;
    this.path = path;
  }

  /**
   * The conversation of the file goes on with this message, or with the result of the call that it ended with; with an
   * empty one its last answer goes on as if it had not been cut.
   * @throws OPTION_INVALID where it was not, FORMAT_INVALID, SESSION_MISFIT and what a generation throws
   */
  async generate(text: string, system: string | undefined, options: ChatOptions): Promise<Generation> {
    const { model, path } = this;
    let tokens: readonly number[] = [];
    if (existsSync(path)) {
      const read = await model.loadSession(path);
      this.saved = readSaved(path, read.about, false);
      tokens = read.tokens;
    }
    const said = system ?? this.saved.system;
    const { turns, calls, cut } = this.saved;
    const last = turns.at(-1);
    const [call, ...rest] = calls;
    if (text === "" && last !== undefined) {
      if (cut === undefined || cut.tokens >= tokens.length)
        throw new HundredweightError("OPTION_INVALID", `${path}: its last answer is whole; go on with a message`);
      this.turn = last;
      this.resumed = cut.tokens;
      const before = [...turns.slice(0, -1), { ...last, answer: undefined }];
      const resume = { tokens: cut.tokens, sampler: cut.sampler };
      return model.chat(messagesOf(said, before), { ...options, resumable: true, begun: tokens, resume });
    }
    if (call !== undefined && last !== undefined) {
      noteResult(last, call, text);
      this.turn = last;
      if (rest.length > 0)
        throw new HundredweightError("OPTION_INVALID", `${path}: ${calls.length} calls wait for results; use chat`);
    } else this.turn = { user: text, steps: [], answer: undefined, tokens: undefined };
    const all = this.turn === last ? turns : [...turns, this.turn];
    this.saved = { ...this.saved, system: said, turns: all, calls: [] };
    return model.chat(messagesOf(said, all), { ...options, resumable: true });
  }

  /** Keeps the conversation with this answer. */
  async save(result: GenerationResult): Promise<void> {
    const { turn, saved, model, path, resumed } = this;
    const { promptTokens, tokens, sampler, finishReason } = result;
    const calls = noteAnswer(turn!, (resumed > 0 ? (turn!.answer ?? "") : "") + result.text, result);
    turn!.tokens = undefined;
    const before = saved.turns.reduce((sum, { tokens: own = 0 }) => sum + own, 0);
    turn!.tokens = Math.max(0, promptTokens.length + tokens.length - before);
    const cut = finishReason === "length" && sampler !== undefined && { tokens: resumed + tokens.length, sampler };
    const all = [...promptTokens, ...tokens];
    await model.saveSession(path, all, savedText({ ...saved, calls, cut: cut === false ? undefined : cut }));
  }
}
