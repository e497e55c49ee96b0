/** `--session FILE`: a text that goes on in the next run where this one ended, with the state of its sampler. */
import { existsSync } from "node:fs";
import type { GenerateOptions, Generation, GenerationResult } from "../../library/generation.js";
import type { Model } from "../../library/model.js";
import type { SamplerState } from "../../sampling/chain.js";

export const sessionOption = [
  "--session <file>",
  "go on with the conversation (--raw: text) of this file when it is there, and keep it there in the end",
] as const;

/** The part that is kept beside the tokens: how many at the end are an answer, and the sampler behind them. */
interface About {
  readonly answer: number;
  readonly sampler?: SamplerState;
}

export class SessionFile {
  private readonly model: Model;
  private readonly path: string;
  private before: readonly number[] = [];
  /** Tokens of an answer at the end of `before`, when nothing was added to them. */
  private resumed = 0;

  constructor(model: Model, path: string) {
    this.model = model;
    this.path = path;
  }

  /**
   * The text of the file goes on with this one; with none its answer goes on as if it had not been cut.
   * @throws FORMAT_INVALID, SESSION_MISFIT and what a generation throws
   */
  async generate(text: string, options: GenerateOptions): Promise<Generation> {
    if (!existsSync(this.path)) return this.model.generate(text, { ...options, resumable: true });
    const { tokens, about } = await this.model.loadSession(this.path);
    const { answer, sampler } = readAbout(about);
    this.before = tokens;
    if (text === "" && answer > 0 && answer < tokens.length && sampler !== undefined) {
      this.resumed = answer;
      return this.model.generate(tokens, { ...options, resumable: true, resume: { tokens: answer, sampler } });
    }
    const more = text === "" ? [] : await this.model.tokenize(text);
    return this.model.generate([...tokens, ...more], { ...options, resumable: true });
  }

  /** Keeps prompt and answer. */
  async save({ promptTokens, tokens, sampler }: GenerationResult): Promise<void> {
    const about: About = { answer: this.resumed + tokens.length, ...(sampler !== undefined && { sampler }) };
    await this.model.saveSession(this.path, [...promptTokens, ...tokens], JSON.stringify(about));
  }

  /** Tokens that were there. */
  get length(): number {
    return this.before.length;
  }
}

/** Reads what a stranger's file says; the state of a sampler is looked at by the engine. */
function readAbout(text: string): About {
  try {
    const about = JSON.parse(text) as Partial<About> | null;
    if (Number.isSafeInteger(about?.answer)) return about as About;
  } catch {
    // no session of this command: a text without an answer
  }
  return { answer: 0 };
}
