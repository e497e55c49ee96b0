/** Models that the page fetches: their plan before, their progress, their end. */
import type { Context, Hono } from "hono";
import { z } from "zod";
import { planPull } from "../../store/folder.js";
import { readJson } from "../http/body.js";
import type { ServerContext } from "../service/context.js";
import { checkPuller } from "../service/pulls.js";
import { checked } from "./checked.js";
import type { PagePulls } from "./page-pulls.js";

const pullSchema = z.strictObject({ word: z.string().trim().min(1).max(500) });

/** @param heldBytes what the model in use would give back */
export function mountPulls(app: Hono, context: ServerContext, pulls: PagePulls, heldBytes: () => number): void {
  const wordOf = async (c: Context): Promise<string> => {
    checkPuller(c, context.config);
    return checked(await readJson(c, context.config), pullSchema).word;
  };
  app.post("/ui/pulls/plan", async (c) =>
    c.json(await planPull(await wordOf(c), context.model.engineOptions, heldBytes())),
  );
  app.post("/ui/pulls", async (c) => c.json(pulls.begin(await wordOf(c)), 202));
  app.delete("/ui/pulls/:id", (c) => {
    checkPuller(c, context.config);
    pulls.cancel(c.req.param("id"));
    return c.body(null, 204);
  });
}
