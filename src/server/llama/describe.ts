/** llama-server's routes, for `/openapi.json`. */
import { z } from "zod";
import { loraList } from "../answers/adapters.js";
import { count, fillsGaps, makesVectors, type RouteDescription } from "../http/description.js";
import { countAnswer } from "../openai/answers.js";
import { chatSchema } from "../openai/chat.js";
import { llamaEmbeddingSchema } from "../openai/embeddings.js";
import { infillSchema } from "./infill.js";
import { llamaCompletionSchema } from "./input.js";

const loose = z.looseObject;

const one = loose({
  content: z.string().optional(),
  stop: z.boolean().optional(),
  tokens: z.array(count).optional(),
  stop_type: z.enum(["eos", "word", "limit"]).optional(),
});
const completionAnswer = z.union([one, z.array(one)]);
const embeddings = z.array(loose({ index: count, embedding: z.array(z.array(z.number())) }));
const late = { method: "post", late: true } as const;

export const llamaRoutes: readonly RouteDescription[] = [
  ...["/completion", "/completions"].map(
    (path) =>
      ({
        ...late,
        path,
        summary: "Continue a text, as llama-server has it",
        body: llamaCompletionSchema,
        answer: completionAnswer,
        streams: true,
      }) as const,
  ),
  {
    ...late,
    path: "/infill",
    summary: "Fill a gap in a text",
    body: infillSchema,
    needs: fillsGaps,
    answer: completionAnswer,
    streams: true,
  },
  ...["/embedding", "/embeddings"].map(
    (path) =>
      ({
        ...late,
        path,
        summary: "Vectors for texts, as llama-server has them",
        body: llamaEmbeddingSchema,
        needs: makesVectors,
        answer: embeddings,
      }) as const,
  ),
  {
    method: "post",
    path: "/v1/chat/completions/input_tokens",
    summary: "Tokens of a conversation",
    body: chatSchema,
    answer: countAnswer,
  },
  {
    method: "get",
    path: "/props",
    summary: "What is served, as llama-server tells it",
    answer: loose({ total_slots: count, model_path: z.string(), chat_template: z.string() }),
  },
  {
    method: "get",
    path: "/slots",
    summary: "What is being answered",
    answer: z.array(loose({ id: count, n_ctx: count, is_processing: z.boolean() })),
  },
  {
    method: "get",
    path: "/lora-adapters",
    summary: "Adapters, and how much each counts where a request does not say",
    answer: z.array(loose({ id: count, path: z.string(), scale: z.number() })),
  },
  {
    method: "post",
    path: "/lora-adapters",
    summary: "Set how much each adapter counts where a request does not say; those left out do not count",
    body: loraList,
    answer: loose({ success: z.literal(true) }),
  },
];
