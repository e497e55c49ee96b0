/** `/lora-adapters` as llama-server has it: which adapters there are, and how much each counts for everybody. */
import type { Hono } from "hono";
import { z } from "zod";
import { adaptersOf, loraList } from "../answers/adapters.js";
import { readValue } from "../http/body.js";
import { validate } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";

export function loraRoutes(app: Hono, context: ServerContext): void {
  app.get("/lora-adapters", async (c) => {
    const { info, engine } = context.model.require();
    const { scales } = await engine.submit({ kind: "adapters" }).result;
    const told = (info.adapters ?? []).map(({ path }, id) => ({
      id,
      path,
      scale: scales[id] ?? 0,
      task_name: "",
      prompt_prefix: "",
    }));
    return c.json(told);
  });
  app.post("/lora-adapters", async (c) => {
    const { value } = validate(z.object({ lora: loraList }), { lora: await readValue(c, context.config) });
    const served = context.model.require();
    await served.engine.submit({ kind: "adapters", scales: adaptersOf(value.lora, served)! }).result;
    return c.json({ success: true });
  });
}
