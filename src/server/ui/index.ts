/** Where the web page and its routes are mounted: called last, after every API route. */
import type { Hono } from "hono";
import type { ServerContext } from "../context.js";

export function mountUi(app: Hono, context: ServerContext): void {
  app.get("/", (c) => c.text(`hundredweight serves ${context.model.id}: point an OpenAI client at /v1\n`));
}
