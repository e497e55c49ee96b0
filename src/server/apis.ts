/**
 * The APIs of a server whose code is loaded when somebody speaks them: their routes, and where they are. What every
 * client asks for, the model's name and its state, is no part of it.
 */
import type { Hono } from "hono";
import { batchesWait } from "./batches/waiting.js";
import type { LaterRoutes } from "./http/later.js";
import { bothPaths, rerankPaths } from "./http/paths.js";
import type { ServerContext } from "./service/context.js";

type Method = "GET" | "POST" | "DELETE" | "HEAD";
type Route = readonly [Method, ...paths: string[]];

const both = (method: Method, path: string): Route => [method, ...bothPaths(path)];
const posts = (...paths: readonly string[]): Route => ["POST", ...paths];

/** @param app whose routes the lines of a batch are sent to; @param data folder of what clients leave, if any */
export function laterApis(app: Hono, context: ServerContext, data: string | undefined): readonly LaterRoutes[] {
  type Register = (app: Hono, context: ServerContext) => void;
  const api = (routes: readonly Route[], load: () => Promise<Register>): LaterRoutes => ({
    routes,
    load: async () => {
      const register = await load();
      return (own) => register(own, context);
    },
  });
  return [
    api([both("POST", "/chat/completions"), both("POST", "/chat/completions/input_tokens")], async () => {
      const { chatRoutes, countRoutes } = await import("./openai/chat.js");
      return (own) => {
        chatRoutes(own, context);
        countRoutes(own, context);
      };
    }),
    api(
      [both("POST", "/messages"), both("POST", "/messages/count_tokens")],
      async () => (await import("./anthropic/messages.js")).messageRoutes,
    ),
    api(
      [
        both("POST", "/responses"),
        both("POST", "/responses/input_tokens"),
        both("POST", "/responses/compact"),
        both("GET", "/responses/:id"),
        both("DELETE", "/responses/:id"),
        both("GET", "/responses/:id/input_items"),
        both("POST", "/responses/:id/cancel"),
      ],
      async () => (await import("./responses/responses.js")).responseRoutes,
    ),
    api([posts("/v1/completions")], async () => (await import("./openai/completions.js")).completionRoutes),
    api(
      [posts("/completion", "/completions")],
      async () => (await import("./llama/completion.js")).llamaCompletionRoutes,
    ),
    api([posts("/infill")], async () => (await import("./llama/infill.js")).infillRoutes),
    api(
      [
        ["GET", "/props", "/slots"],
        ["POST", "/slots/:id"],
      ],
      async () => (await import("./llama/props.js")).propsRoutes,
    ),
    api(
      [["GET", "/lora-adapters"], posts("/lora-adapters")],
      async () => (await import("./llama/lora-adapters.js")).loraRoutes,
    ),
    api(
      [posts("/v1/embeddings", "/embedding", "/embeddings")],
      async () => (await import("./openai/embeddings.js")).embeddingRoutes,
    ),
    api([posts(...rerankPaths)], async () => (await import("./openai/rerank.js")).rerankRoutes),
    api(
      [posts("/tokenize", "/detokenize", "/apply-template")],
      async () => (await import("./routes/text.js")).textRoutes,
    ),
    ...(data === undefined ? [] : [batchApi(app, context, data)]),
    api([["GET", "/openapi.json"]], async () => (await import("./routes/openapi.js")).openApiRoutes),
    api(
      [
        ["GET", "/api/version", "/api/tags", "/api/ps"],
        posts(...["chat", "generate", "embed", "embeddings", "show"].map((name) => `/api/${name}`)),
        posts("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/blobs/:digest"),
        ["DELETE", "/api/delete"],
        ["HEAD", "/api/blobs/:digest"],
      ],
      async () => (await import("./ollama/index.js")).ollamaRoutes,
    ),
  ];
}

function batchApi(app: Hono, context: ServerContext, data: string): LaterRoutes {
  return {
    routes: [
      both("POST", "/batches"),
      both("GET", "/batches"),
      both("GET", "/batches/:id"),
      both("POST", "/batches/:id/cancel"),
      both("POST", "/files"),
      both("GET", "/files"),
      both("GET", "/files/:id"),
      both("GET", "/files/:id/content"),
      both("DELETE", "/files/:id"),
    ],
    load: async () => {
      const { batchRoutes } = await import("./batches/routes.js");
      return (own) => batchRoutes(own, context, data, app);
    },
    atOnce: batchesWait(data),
  };
}
