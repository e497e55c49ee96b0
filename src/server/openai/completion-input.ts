/** The body of a completion request. */
import { z } from "zod";
import { tokenIds } from "../answers/token-id.js";
import { rule, ruled, unless } from "../http/field-rules.js";
import { marked } from "../http/served-limits.js";
import { oneForm } from "./constraint.js";
import { answerFields } from "./fields.js";

export const promptSchema = z.union(
  [z.string(), tokenIds, z.array(z.string()).min(1), z.array(tokenIds).min(1)],
  "a text, a list of token ids, or a list of either",
);

export const completionSchema = ruled(
  z.object({
    ...answerFields,
    prompt: promptSchema,
    logprobs: z.int().min(0).max(20).optional(),
    echo: z.boolean().optional().describe("The prompt comes first in the text, and in the log-probabilities."),
    best_of: z.int().min(1).optional().describe("The value of `n`: answers are not chosen among."),
    suffix: z
      .string()
      .meta(marked({ limits: { maxLength: "gap" } }))
      .optional()
      .describe("What stands behind the gap that is filled: for models with FIM tokens."),
    parse_special: z.boolean().optional().describe("Control tokens written in a prompt count as such. Default true."),
    add_special: z.boolean().optional().describe("Add BOS and EOS as the model wants. Default true."),
  }),
  oneForm,
  rule("best_of", "only the value of n is supported", {
    anyOf: [
      { properties: { best_of: { type: "null" } } },
      { properties: { best_of: { const: 1 }, n: { enum: [null, 1] } } },
      ...Array.from({ length: 31 }, (_, i) => ({
        required: ["n"],
        properties: { best_of: { const: i + 2 }, n: { const: i + 2 } },
      })),
    ],
  }),
  rule(
    "suffix",
    "beside it a prompt is a text or a list of them",
    unless(
      "suffix",
      { const: "" },
      { properties: { prompt: { type: ["string", "array"], items: { type: "string" } } } },
    ),
  ),
).meta(marked({ asked: ["prompt", "n"] }));

export type CompletionInput = z.output<typeof completionSchema>;
