/** The routes of the Responses API, for `/openapi.json`. */
import { z } from "zod";
import { count, type RouteDescription } from "../http/description.js";
import { compactSchema, countSchema, responsesSchema } from "./request.js";

const loose = z.looseObject;

const responseAnswer = loose({
  id: z.string(),
  object: z.literal("response"),
  created_at: count,
  status: z.enum(["completed", "incomplete", "failed"]),
  model: z.string(),
  output: z.array(
    loose({ id: z.string(), type: z.enum(["message", "reasoning", "function_call", "custom_tool_call"]) }),
  ),
  usage: loose({ input_tokens: count, output_tokens: count, total_tokens: count }).optional(),
});

const compactAnswer = loose({
  id: z.string(),
  object: z.literal("response.compaction"),
  created_at: count,
  output: z.array(loose({ id: z.string(), type: z.enum(["message", "compaction"]) })),
  usage: loose({ input_tokens: count, output_tokens: count, total_tokens: count }),
});

const nullableId = z.string().nullable();

export const responsesRoutes: readonly RouteDescription[] = [
  {
    method: "post",
    path: "/v1/responses",
    summary: "Answer a conversation, as OpenAI's Responses API",
    body: responsesSchema,
    answer: responseAnswer,
    streams: true,
  },
  {
    method: "post",
    path: "/v1/responses/input_tokens",
    summary: "Tokens of a conversation",
    body: countSchema,
    answer: loose({ object: z.literal("response.input_tokens"), input_tokens: count }),
  },
  {
    method: "post",
    path: "/v1/responses/compact",
    summary: "Make a conversation short: what users said, and a summary of the rest",
    body: compactSchema,
    answer: compactAnswer,
    late: true,
  },
  {
    method: "get",
    path: "/v1/responses/{id}",
    summary: "A response that is still stored",
    answer: responseAnswer,
    modelless: true,
  },
  {
    method: "delete",
    path: "/v1/responses/{id}",
    summary: "Forget a response",
    answer: loose({ id: z.string(), object: z.literal("response"), deleted: z.literal(true) }),
    modelless: true,
  },
  {
    method: "get",
    path: "/v1/responses/{id}/input_items",
    summary: "What was said to a response",
    answer: loose({
      object: z.literal("list"),
      data: z.array(loose({})),
      first_id: nullableId,
      last_id: nullableId,
      has_more: z.boolean(),
    }),
    modelless: true,
  },
];
