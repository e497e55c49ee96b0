/** The body of a completion request. */
import { z } from "zod";
import { answerFields } from "./fields.js";

const ids = z
  .array(
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
  )
  .min(1);

export const promptSchema = z.union(
  [z.string(), ids, z.array(z.string()).min(1), z.array(ids).min(1)],
  "a text, a list of token ids, or a list of either",
);

export const completionSchema = z.object({
  ...answerFields,
  prompt: promptSchema,
  logprobs: z.int().min(0).max(20).optional(),
  echo: z.boolean().optional().describe("The prompt comes first in the text, and in the log-probabilities."),
  best_of: z.int().min(1).optional(),
  suffix: z.string().optional().describe("What stands behind the gap that is filled: for models with FIM tokens."),
  parse_special: z.boolean().optional().describe("Control tokens written in a prompt count as such. Default true."),
  add_special: z.boolean().optional().describe("Add BOS and EOS as the model wants. Default true."),
});

export type CompletionInput = z.output<typeof completionSchema>;
