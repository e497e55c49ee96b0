/** Ollama's API. `ARCHITECTURE.md` ("The life of a request") says what it shares with the others. */
import type { Hono } from "hono";
import type { ServerContext } from "../service/context.js";
import { ollamaChatRoutes } from "./chat.js";
import { ollamaEmbedRoutes } from "./embed.js";
import { ollamaModelRoutes } from "./models.js";

export function ollamaRoutes(app: Hono, context: ServerContext): void {
  // Programs look for these words; people get the page.
  app.get("/", async (c, next) => {
    if (c.req.header("accept")?.includes("text/html") === true) return next();
    return c.text("Ollama is running");
  });
  ollamaChatRoutes(app, context);
  ollamaEmbedRoutes(app, context);
  ollamaModelRoutes(app, context);
}
