/** Whether the server lives, and whether it can answer. */
import type { Hono } from "hono";
import { ownerOf } from "../http/security.js";
import type { ServerContext } from "../service/context.js";

export function healthRoutes(app: Hono, { model, draining, gate, config }: ServerContext): void {
  app.on("GET", ["/health", "/v1/health"], (c) => {
    const { phase } = model.state;
    // A server whose engine is started again lives.
    if (phase === "ready" || phase === "restarting" || draining.aborted) return c.json({ status: "ok" });
    // llama-server's words: clients that start one wait for them to go.
    const message = phase === "failed" ? "The model could not be loaded" : "Loading model";
    return c.json({ error: { message, type: "unavailable_error", param: null, code: 503 } }, 503);
  });

  app.get("/ready", (c) => {
    const { phase, since, error, restarts, loadedBytes, totalBytes, silent } = model.state;
    const status = draining.aborted ? "draining" : phase === "ready" && silent ? "silent" : phase;
    const code = status === "ready" ? 200 : 503;
    if (config.apiKeys.length > 0 && ownerOf(c, config) === "") return c.json({ status }, code);
    return c.json(
      {
        status,
        model: model.id,
        seconds: (Date.now() - since) / 1000,
        ...(error !== undefined && { error }),
        restarts,
        ...(totalBytes > 0 && { loaded: { bytes: loadedBytes, of: totalBytes } }),
        answers: { open: gate.count, limit: gate.limit },
      },
      code,
    );
  });
}
