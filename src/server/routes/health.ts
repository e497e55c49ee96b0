/** Whether the server lives, and whether it can answer. */
import type { Hono } from "hono";
import type { ServerContext } from "../service/context.js";

export function healthRoutes(app: Hono, { model, draining, gate }: ServerContext): void {
  app.get("/health", (c) => c.json({ status: "ok" }));

  app.get("/ready", (c) => {
    const { phase, since, error, restarts, loadedBytes, totalBytes, silent } = model.state;
    const status = draining.aborted ? "draining" : phase === "ready" && silent ? "silent" : phase;
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
      status === "ready" ? 200 : 503,
    );
  });
}
