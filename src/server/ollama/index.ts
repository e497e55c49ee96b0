/** Ollama's API. `ARCHITECTURE.md` ("The life of a request") says what it shares with the others. */
import type { Hono } from "hono";
import type { ServerContext } from "../service/context.js";
import { ollamaChatRoutes } from "./chat.js";
import { ollamaEmbedRoutes } from "./embed.js";
import { ollamaModelRoutes } from "./models.js";
import { ollamaPullRoutes } from "./pull.js";

export function ollamaRoutes(app: Hono, context: ServerContext): void {
  ollamaChatRoutes(app, context);
  ollamaEmbedRoutes(app, context);
  ollamaModelRoutes(app, context);
  ollamaPullRoutes(app, context);
}
