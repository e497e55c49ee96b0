/** By which programs know Ollama. */
import type { Hono } from "hono";

export function ollamaGreeting(app: Hono): void {
  // Programs look for these words; people get the page.
  app.get("/", async (c, next) => {
    if (c.req.header("accept")?.includes("text/html") === true) return next();
    return c.text("Ollama is running");
  });
}
