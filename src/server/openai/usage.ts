/** Reports the cost of an answer: OpenAI's `usage`, and llama.cpp's `timings` beside it. */
import type { DraftCounts } from "../../link/protocol.js";
import type { ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number; readonly audio_tokens: 0 };
  readonly completion_tokens_details: {
    readonly reasoning_tokens: number;
    readonly audio_tokens: 0;
    /** Tokens of the request's prediction that were tried. */
    readonly accepted_prediction_tokens: number;
    readonly rejected_prediction_tokens: number;
  };
}

/** @param n choices of each prompt: a prompt counts once */
export function usageOf(
  choices: readonly ChoiceJob[],
  outcomes: readonly ChoiceOutcome[],
  n: number,
  reasoning: number,
): Usage {
  let prompt = 0;
  let cached = 0;
  let completion = 0;
  let [tried, right] = [0, 0];
  choices.forEach(({ tokens }, i) => {
    completion += outcomes[i]!.tokens;
    const { prediction } = outcomes[i]!.result?.drafts ?? {};
    tried += prediction?.tried ?? 0;
    right += prediction?.right ?? 0;
    if (i % n !== 0) return;
    prompt += tokens.length;
    cached += outcomes[i]!.result?.reusedTokens ?? 0;
  });
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: right,
      rejected_prediction_tokens: tried - right,
    },
  };
}

/** Timings of a single answer; none for several. */
export function timingsOf(outcomes: readonly ChoiceOutcome[]): object {
  const [outcome] = outcomes;
  if (outcomes.length !== 1 || outcome?.result === undefined) return {};
  const { reusedTokens, prefillMs, prefillRows, decodeMs, decodeRows, drafts } = outcome.result;
  const prompt = { cached: reusedTokens, rows: prefillRows, ms: prefillMs };
  const made = timings(prompt, { tokens: outcome.tokens, rows: decodeRows, ms: decodeMs });
  return { timings: { ...made, ...(drafts !== undefined && draftTimings(drafts)) } };
}

/** Guesses of all kinds together, in llama.cpp's words, and by their source. */
function draftTimings(drafts: DraftCounts): object {
  const counts = Object.values(drafts);
  return {
    draft_n: counts.reduce((sum, { tried }) => sum + tried, 0),
    draft_n_accepted: counts.reduce((sum, { right }) => sum + right, 0),
    drafts,
  };
}

/** The first token needs no pass of its own: rates are of the rows behind it. */
function timings(
  prompt: { readonly cached: number; readonly rows: number; readonly ms: number },
  made: { readonly tokens: number; readonly rows: number; readonly ms: number },
): object {
  const rate = (rows: number, ms: number): number => (ms > 0 ? (rows * 1000) / ms : 0);
  const each = (rows: number, ms: number): number => (rows > 0 ? ms / rows : 0);
  return {
    cache_n: prompt.cached,
    prompt_n: prompt.rows,
    prompt_ms: prompt.ms,
    prompt_per_token_ms: each(prompt.rows, prompt.ms),
    prompt_per_second: rate(prompt.rows, prompt.ms),
    predicted_n: made.tokens,
    predicted_ms: made.ms,
    predicted_per_token_ms: each(made.rows, made.ms),
    predicted_per_second: rate(made.rows, made.ms),
  };
}

/** Timings of a single answer while it is made, for clients that ask for them with every token. */
export class RunningTimings {
  private readonly promptTokens: number;
  private cached = 0;
  private read = 0;
  private began: number | undefined;
  private first: number | undefined;
  private last = 0;
  private tokens = 0;

  constructor([choice]: readonly ChoiceJob[]) {
    this.promptTokens = choice?.tokens.length ?? 0;
  }

  progress({ cached = 0, done }: Progress): void {
    this.began ??= performance.now();
    this.cached = cached;
    this.read = done;
    this.last = performance.now();
  }

  token(): void {
    this.last = performance.now();
    this.began ??= this.last;
    this.first ??= this.last;
    this.read = this.promptTokens;
    this.tokens++;
  }

  /** Whether there is a token. */
  get any(): boolean {
    return this.tokens > 0;
  }

  get now(): object {
    const { cached, read, tokens, last, began = last, first } = this;
    const prompt = { cached, rows: read - cached, ms: (first ?? last) - began };
    return timings(prompt, { tokens, rows: Math.max(0, tokens - 1), ms: last - (first ?? last) });
  }
}

/** How far a prompt is read, in llama.cpp's words. */
export function promptProgressOf({ total, done, cached = 0 }: Progress, elapsedMs: number): object {
  return { total, cache: cached, processed: done, time_ms: Math.round(elapsedMs) };
}
