/** One answer with guesses or without, its time, and the processor time it took: for bench/drafts. */
import { fileURLToPath } from "node:url";
import type { DraftMode } from "../../src/engine/drafts/drafter.js";
import { type LoadOptions, load, type Model } from "../../src/library/model.js";
import { forkedAnswer } from "./forked-answer.js";

export interface AskedAnswer {
  readonly content: string;
  readonly drafts: DraftMode;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly scope: string;
}

export interface DraftAnswer {
  readonly tokens: readonly number[];
  /** Tokens a second of the answer alone, and of prompt and answer together. */
  readonly decodeTps: number;
  readonly wholeTps: number;
  /** Processor seconds of the whole process, prompt and answer. */
  readonly cpuSeconds: number;
  /** Tokens of a pass. */
  readonly perPass: number;
  readonly tried: number;
  readonly right: number;
}

export async function draftAnswer(model: Model, asked: AskedAnswer): Promise<DraftAnswer> {
  const { content, ...options } = asked;
  const [began, before] = [performance.now(), process.cpuUsage()];
  const made = model.chat([{ role: "user", content }], { ...options, seed: 1, ignoreEos: true });
  const { tokens, timings, ledger, promptTokens } = await made.result();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  const passes = ledger.filter(({ position }) => position >= promptTokens.length);
  const sum = (of: (pass: (typeof passes)[number]) => number): number =>
    passes.reduce((all, pass) => all + of(pass), 0);
  const [tried, right] = [sum((pass) => pass.drafts), sum((pass) => pass.acceptedDrafts)];
  return {
    tokens,
    decodeTps: timings.decodeTps,
    wholeTps: tokens.length / seconds,
    cpuSeconds: (user + system) / 1e6,
    perPass: (passes.length + right) / passes.length,
    tried,
    right,
  };
}

/** The model and the answers of a process of its own: the first one warms it up. */
export interface ForkedAsk {
  readonly path: string;
  readonly options: LoadOptions;
  readonly warm: AskedAnswer;
  readonly asked: AskedAnswer;
}

/** The same in a process of its own, which has the memory that it gets and no other engine beside it. */
export function draftAnswerApart(ask: ForkedAsk): Promise<DraftAnswer> {
  return forkedAnswer<ForkedAsk, DraftAnswer>(fileURLToPath(import.meta.url), ask);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.once("message", async ({ path, options, warm, asked }: ForkedAsk) => {
    const model = await load(path, options);
    await draftAnswer(model, warm);
    const answer = await draftAnswer(model, asked);
    await model.close();
    process.send!(answer, () => process.disconnect());
  });
