/** The routes of Anthropic's API, for `/openapi.json`. */
import { z } from "zod";
import { count, type RouteDescription } from "../http/description.js";
import { countSchema, messagesSchema } from "./request.js";

const loose = z.looseObject;

const messageAnswer = loose({
  id: z.string(),
  type: z.literal("message"),
  role: z.literal("assistant"),
  model: z.string(),
  content: z.array(loose({ type: z.enum(["text", "thinking", "tool_use"]) })),
  stop_reason: z.enum(["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]),
  stop_sequence: z.string().nullable(),
  usage: loose({ input_tokens: count, cache_read_input_tokens: count, output_tokens: count }),
});

export const anthropicRoutes: readonly RouteDescription[] = [
  {
    method: "post",
    path: "/v1/messages",
    summary: "Answer a conversation, as Anthropic's Messages API",
    body: messagesSchema,
    answer: messageAnswer,
    late: true,
    streams: true,
    failure: "AnthropicError",
  },
  {
    method: "post",
    path: "/v1/messages/count_tokens",
    summary: "Tokens of a conversation",
    body: countSchema,
    answer: loose({ input_tokens: count }),
    failure: "AnthropicError",
  },
];
