/**
 * Shapes of OpenAI's answers. Source: the types of npm `openai` 6.49.0, which are generated from OpenAI's API
 * description; the assignments at the end let the compiler hold these shapes against them. Every field the description
 * requires is required here, and so are those of ours that clients count on (usage with cached tokens,
 * system_fingerprint).
 */
import type OpenAI from "openai";
import { z } from "zod";

const count = z.int().min(0);

export const usage = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.object({ cached_tokens: count }),
  completion_tokens_details: z.object({
    reasoning_tokens: count,
    accepted_prediction_tokens: count,
    rejected_prediction_tokens: count,
  }),
});

const tokenLogprob = z.object({
  token: z.string(),
  logprob: z.number().max(0),
  bytes: z.array(z.int().min(0).max(255)),
});

const chatLogprobs = z.object({
  content: z.array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob) })),
  refusal: z.null(),
});

const identity = {
  id: z.string().min(10),
  created: z.int().min(1_600_000_000),
  model: z.string().min(1),
  system_fingerprint: z.string().min(1),
};

const finish = z.enum(["stop", "length"]);

export const chatCompletion = z.object({
  ...identity,
  object: z.literal("chat.completion"),
  choices: z
    .array(
      z.object({
        index: count,
        finish_reason: finish,
        logprobs: chatLogprobs.nullable(),
        message: z.object({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
      }),
    )
    .min(1),
  usage,
});

export const chatChunk = z.object({
  ...identity,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(
    z.object({
      index: count,
      delta: z.union([
        z.object({ role: z.literal("assistant"), content: z.null() }),
        z.object({ content: z.string() }),
        z.strictObject({}),
      ]),
      logprobs: chatLogprobs.nullable(),
      finish_reason: finish.nullable(),
    }),
  ),
});

/** With stream_options.include_usage every chunk has the field, null but in the last one. */
export const chatChunkWithUsage = chatChunk.extend({ usage: usage.nullable() });

const textLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().max(0).nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number().max(0)).nullable()),
  text_offset: z.array(count),
});

const textChoice = { index: count, text: z.string(), logprobs: textLogprobs.nullable() };

export const completion = z.object({
  ...identity,
  object: z.literal("text_completion"),
  choices: z.array(z.object({ ...textChoice, finish_reason: finish })).min(1),
  usage,
});

export const completionChunk = z.object({
  ...identity,
  object: z.literal("text_completion"),
  choices: z.array(z.object({ ...textChoice, finish_reason: finish.nullable() })),
});

export const embeddings = z.object({
  object: z.literal("list"),
  model: z.string().min(1),
  data: z.array(z.object({ object: z.literal("embedding"), index: count, embedding: z.array(z.number()) })),
  usage: z.object({ prompt_tokens: count, total_tokens: count }),
});

export const model = z.object({
  id: z.string().min(1),
  object: z.literal("model"),
  created: z.int().min(1_600_000_000),
  owned_by: z.string().min(1),
});

export const failure = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string().min(1),
    param: z.string().nullable(),
    code: z.string().nullable(),
    n_prompt_tokens: count.optional(),
    n_ctx: count.optional(),
  }),
});

/** The compiler's proof that what passes a shape is what the description promises. */
export type Proof = [
  Assert<z.output<typeof chatCompletion>, OpenAI.ChatCompletion>,
  Assert<z.output<typeof chatChunk>, OpenAI.ChatCompletionChunk>,
  Assert<z.output<typeof chatChunkWithUsage>, OpenAI.ChatCompletionChunk>,
  // The description forgets the null of a first echoed token, which OpenAI's servers send.
  Assert<Omit<z.output<typeof completion>, "choices">, Omit<OpenAI.Completion, "choices">>,
  Assert<z.output<typeof embeddings>, OpenAI.CreateEmbeddingResponse>,
  Assert<z.output<typeof model>, OpenAI.Model>,
];
type Assert<Given extends Wanted, Wanted> = Given;
