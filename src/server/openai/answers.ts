/** Answers of OpenAI's routes, for `/openapi.json`. */
import { z } from "zod";
import { count } from "../http/description.js";

const loose = z.looseObject;
const finish = z.enum(["stop", "length", "tool_calls"]);

const usage = loose({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: loose({ cached_tokens: count }),
  completion_tokens_details: loose({
    reasoning_tokens: count,
    accepted_prediction_tokens: count,
    rejected_prediction_tokens: count,
  }),
});

const identity = { id: z.string(), created: count, model: z.string(), system_fingerprint: z.string() };

export const countAnswer = z.looseObject({ input_tokens: z.int().min(0) });

export const chatAnswer = loose({
  ...identity,
  object: z.literal("chat.completion"),
  choices: z.array(
    loose({
      index: count,
      message: loose({ role: z.literal("assistant"), content: z.string().nullable() }),
      finish_reason: finish,
    }),
  ),
  usage,
});

export const completionAnswer = loose({
  ...identity,
  object: z.literal("text_completion"),
  choices: z.array(loose({ index: count, text: z.string(), finish_reason: z.enum(["stop", "length"]) })),
  usage,
});

export const embeddingAnswer = loose({
  object: z.literal("list"),
  model: z.string(),
  data: z.array(loose({ object: z.literal("embedding"), index: count, embedding: z.unknown() })),
  usage: loose({ prompt_tokens: count, total_tokens: count }),
});

/** With `texts` it is a list, as text-embeddings-inference has it. */
export const rerankAnswer = loose({
  model: z.string(),
  results: z.array(loose({ index: count, relevance_score: z.number() })),
});

export const modelAnswer = loose({ id: z.string(), object: z.literal("model"), created: count, owned_by: z.string() });
export const modelsAnswer = loose({ object: z.literal("list"), data: z.array(modelAnswer) });
