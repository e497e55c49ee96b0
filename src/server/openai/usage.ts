/** Reports the cost of an answer: OpenAI's `usage`, and llama.cpp's `timings` beside it. */
import type { ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number; readonly audio_tokens: 0 };
  readonly completion_tokens_details: { readonly reasoning_tokens: number; readonly audio_tokens: 0 };
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
  choices.forEach(({ tokens }, i) => {
    completion += outcomes[i]!.tokens;
    if (i % n !== 0) return;
    prompt += tokens.length;
    cached += outcomes[i]!.result?.reusedTokens ?? 0;
  });
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: reasoning, audio_tokens: 0 },
  };
}

/** Timings of a single answer; none for several. */
export function timingsOf(outcomes: readonly ChoiceOutcome[]): object {
  const [outcome] = outcomes;
  if (outcomes.length !== 1 || outcome?.result === undefined) return {};
  const { reusedTokens, prefillMs, prefillRows, decodeMs, decodeRows } = outcome.result;
  const rate = (rows: number, ms: number): number => (ms > 0 ? (rows * 1000) / ms : 0);
  return {
    timings: {
      cache_n: reusedTokens,
      prompt_n: prefillRows,
      prompt_ms: prefillMs,
      prompt_per_second: rate(prefillRows, prefillMs),
      predicted_n: outcome.tokens,
      predicted_ms: decodeMs,
      predicted_per_second: rate(decodeRows, decodeMs),
    },
  };
}

/** How far a prompt is read, in llama.cpp's words. */
export function promptProgressOf({ total, done }: Progress, elapsedMs: number): object {
  return { total, cache: 0, processed: done, time_ms: Math.round(elapsedMs) };
}
