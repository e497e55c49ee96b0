/** Ollama's routes, for `/openapi.json`. */
import { z } from "zod";
import { count, makesVectors, type RouteDescription } from "../http/description.js";
import { chatSchema, embeddingsSchema, embedSchema, generateSchema, showSchema } from "./request.js";

const loose = z.looseObject;
const failure = "OllamaError" as const;

const ended = { model: z.string(), created_at: z.string(), done: z.boolean(), done_reason: z.string().optional() };
const model = loose({ name: z.string(), model: z.string(), size: count, digest: z.string() });
const models = loose({ models: z.array(model) });
const late = { method: "post", late: true, failure } as const;

export const ollamaRoutes: readonly RouteDescription[] = [
  {
    ...late,
    path: "/api/chat",
    summary: "Answer a conversation, as Ollama's API",
    body: chatSchema,
    answer: loose({ ...ended, message: loose({ role: z.literal("assistant"), content: z.string() }) }),
    lines: true,
  },
  {
    ...late,
    path: "/api/generate",
    summary: "Answer, continue or fill a text, as Ollama's API",
    body: generateSchema,
    answer: loose({ ...ended, response: z.string() }),
    lines: true,
  },
  {
    ...late,
    path: "/api/embed",
    summary: "Vectors for texts, as Ollama's API",
    body: embedSchema,
    needs: makesVectors,
    answer: loose({ embeddings: z.array(z.array(z.number())), prompt_eval_count: count }),
  },
  {
    ...late,
    path: "/api/embeddings",
    summary: "A vector for a text, as Ollama's older API",
    body: embeddingsSchema,
    needs: makesVectors,
    answer: loose({ embedding: z.array(z.number()) }),
  },
  {
    method: "post",
    path: "/api/show",
    summary: "Facts of a model, as Ollama's API",
    body: showSchema,
    answer: loose({ details: loose({}), model_info: loose({}), capabilities: z.array(z.string()) }),
    failure,
  },
  { method: "get", path: "/api/tags", summary: "Models, as Ollama's API", answer: models, failure, modelless: true },
  { method: "get", path: "/api/ps", summary: "Models in memory", answer: models, failure, modelless: true },
  {
    method: "get",
    path: "/api/version",
    summary: "The state of Ollama's API that is spoken",
    answer: loose({ version: z.string() }),
    failure,
    modelless: true,
  },
];
