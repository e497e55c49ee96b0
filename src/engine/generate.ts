/** The loop: sync the prompt, then sample, show, evaluate, until something ends it. */
import type { Candidates } from "../sampling/candidates.js";
import { SamplerChain, type SamplingSettings } from "../sampling/chain.js";
import { tokenLogprobs } from "./logprobs.js";
import type { EngineParts } from "./parts.js";
import type { FinishReason, GenerateRequest, GenerateResult, JobEvent } from "./protocol.js";
import type { EvaluateHooks, Session } from "./session.js";
import { StopStrings } from "./stop-strings.js";

export interface GenerateContext {
  readonly parts: EngineParts;
  readonly session: Session;
  readonly candidates: Candidates;
  readonly contextTokens: number;
  readonly emit: (event: JobEvent) => void;
  /** Hooks for a stretch of `total` rows. */
  readonly hooks: (total: number) => EvaluateHooks;
  /** Waits while the job is paused. */
  readonly turn: () => Promise<void>;
}

export async function generate(
  context: GenerateContext,
  prompt: Int32Array,
  request: GenerateRequest,
): Promise<GenerateResult> {
  const { parts, session, contextTokens, emit } = context;
  const { tokenizer } = parts;
  const settings = request.ignoreEos ? banEndings(request.sampling, tokenizer.endOfGeneration) : request.sampling;
  const chain = new SamplerChain(settings, context.candidates, contextTokens + 1, tokenizer);
  const decoder = parts.streamDecoder();
  const stops = new StopStrings(request.stop);
  const limit = request.maxTokens < 0 ? Number.POSITIVE_INFINITY : request.maxTokens;
  for (const id of prompt) chain.accept(id);

  const began = performance.now();
  const reusedTokens = await evaluatePrompt(context, prompt, request.promptLogprobs);
  const prefilled = performance.now();

  const one = new Int32Array(1);
  const hooks = context.hooks(0);
  let finishReason: FinishReason = "length";
  let decodeRows = 0;
  for (let count = 0; count < limit; ) {
    await context.turn();
    const id = sample(parts, chain, session.logits);
    if (!request.ignoreEos && tokenizer.endOfGeneration.has(id)) {
      finishReason = "stop";
      break;
    }
    chain.accept(id);
    count++;
    const logprobs =
      request.logprobs === undefined ? {} : { logprobs: tokenLogprobs(session.logits, id, request.logprobs) };
    emit({ kind: "token", id, text: stops.push(decoder.push(id)), ...logprobs });
    if (stops.found !== undefined) {
      finishReason = "stop";
      break;
    }
    if (count >= limit || session.length >= contextTokens) break;
    one[0] = id;
    await session.eval(one, hooks);
    decodeRows++;
  }
  const rest = stops.push(decoder.flush()) + stops.flush();
  if (rest !== "") emit({ kind: "text", text: rest });
  return {
    kind: "generate",
    finishReason,
    reusedTokens,
    prefillMs: prefilled - began,
    prefillRows: prompt.length - reusedTokens,
    decodeMs: performance.now() - prefilled,
    decodeRows,
  };
}

async function evaluatePrompt(
  { parts, session, emit, hooks }: GenerateContext,
  prompt: Int32Array,
  top: number | undefined,
): Promise<number> {
  if (top === undefined) return session.sync(prompt, hooks(prompt.length));
  const { vocab } = parts.info;
  return session.evaluate(prompt, 0, {
    ...hooks(prompt.length),
    onRows: (position, logits) => {
      const rows = Math.min(logits.length / vocab, prompt.length - 1 - position);
      const logprobs = Array.from({ length: rows }, (_, r) =>
        tokenLogprobs(logits.subarray(r * vocab, (r + 1) * vocab), prompt[position + r + 1]!, top),
      );
      if (rows > 0) emit({ kind: "promptLogprobs", first: position + 1, logprobs });
    },
  });
}

function banEndings(settings: SamplingSettings, ids: ReadonlySet<number>): SamplingSettings {
  return { ...settings, logitBias: [...settings.logitBias, ...[...ids].map((id) => [id, -Infinity] as const)] };
}

/** The chain's choice; its time is that of `sample` in a profile. */
export function sample({ profiler }: EngineParts, chain: SamplerChain, logits: Float32Array): number {
  return profiler === undefined ? chain.sample(logits) : profiler.time("sample", () => chain.sample(logits));
}
