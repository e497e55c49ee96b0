/** The live feed of the page, and models of a folder. */
import type { Hono } from "hono";
import { z } from "zod";
import { planModel } from "../../store/folder.js";
import { readJson } from "../http/body.js";
import type { ServerContext } from "../service/context.js";
import { mayPull } from "../service/pulls.js";
import { checked } from "./checked.js";
import { limits } from "./conversation-file.js";
import { eventStream } from "./event-stream.js";
import { type Machine, sampleEveryMs } from "./machine.js";
import { ModelChange } from "./model-change.js";
import { PagePulls } from "./page-pulls.js";
import { currentPlan, pageState } from "./page-state.js";
import { mountPulls } from "./pull-routes.js";
import type { MachineEvent, ModelChoice } from "./wire.js";

/** Costs are learned pass by pass; a page has no use for each. */
const costsEveryMs = 3000;

const tokensSchema = z.strictObject({ content: z.string().max(limits.messageCharacters) });
const loadSchema = z.strictObject({
  when: z.enum(["idle", "now", "drained"]).exactOptional(),
  contextTokens: z
    .number()
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .exactOptional(),
});

export function mountMachine(
  app: Hono,
  context: ServerContext,
  machine: Machine,
  onConversations: (listener: () => void) => () => void,
): void {
  const { model, draining, ending } = context;
  const startedAt = new Date().toISOString();
  const change = new ModelChange(context);
  const pulls = new PagePulls(context.pulls, draining);
  const state = (): MachineEvent => ({
    type: "state",
    state: { ...pageState(context, startedAt), ...(change.to !== undefined && { changesTo: change.to }) },
  });
  const fetched = (): MachineEvent => ({ type: "pulls", pulls: pulls.states });
  const costs = (): MachineEvent => ({ type: "costs", costs: machine.costs ?? null });
  app.get("/ui/machine/events", (c) =>
    eventStream<MachineEvent>(
      (send) => {
        const tell = () => {
          send(state());
          send({ type: "plan", plan: currentPlan(context) });
        };
        tell();
        send({ type: "history", samples: machine.history });
        send({ type: "memory", memory: machine.memory ?? null });
        send(costs());
        send(fetched());
        // What has been read is no change of phase: it is looked at.
        let told = 0;
        const loading = setInterval(() => {
          if (model.state.loadedBytes === told) return;
          told = model.state.loadedBytes;
          send(state());
        }, sampleEveryMs);
        draining.addEventListener("abort", tell);
        let toldCosts = "";
        const learning = setInterval(() => {
          const now = JSON.stringify(machine.costs ?? null);
          if (now === toldCosts) return;
          toldCosts = now;
          send(costs());
        }, costsEveryMs);
        const ends = [
          () => clearInterval(loading),
          () => clearInterval(learning),
          change.onChange(tell),
          pulls.onChange(() => send(fetched())),
          () => draining.removeEventListener("abort", tell),
          model.onChange(tell),
          machine.subscribe(
            (sample) => send({ type: "sample", sample }),
            (memory) => send({ type: "memory", memory: memory ?? null }),
          ),
          onConversations(() => send({ type: "conversations" })),
        ];
        return () => {
          for (const end of ends) end();
        };
      },
      {
        merge: (before, after) =>
          before.type === after.type && ["conversations", "pulls"].includes(after.type) ? after : undefined,
        // A server that drains says so.
        signal: AbortSignal.any([c.req.raw.signal, ending]),
      },
    ),
  );

  app.post("/ui/tokens", async (c) => {
    const { content } = checked(await readJson(c, context.config), tokensSchema);
    const { text, info } = model.require();
    const asked = { kind: "encodePrompt", text: content, addSpecial: false, parseSpecial: false } as const;
    const found = await text.perform({ ...asked, most: info.contextTokens });
    // What is far too long is not read to its end.
    const tokens = found instanceof Int32Array ? found.length : "tokens" in found ? found.tokens : found.bytes / 4;
    return c.json({ tokens: Math.ceil(tokens) });
  });
  app.get("/ui/machine/advice", async (c) => {
    const { path } = model.state;
    const { advice } = await planModel(path, model.engineOptions, machine.heldBytes);
    return c.json({ advice });
  });

  const folder = context.models;
  if (folder === undefined) return;
  app.get("/ui/models", async (c) => {
    const listing = await folder.list(model.state.path);
    const choice: ModelChoice = { ...listing, mayPull: context.config.computerModels && mayPull(c, context.config) };
    return c.json(choice);
  });
  app.get("/ui/models/:id/plan", async (c) => {
    const context = Number(c.req.query("context") ?? 0);
    const asked = Number.isInteger(context) && context > 0 ? { contextTokens: context } : {};
    return c.json(await folder.plan(c.req.param("id"), { ...model.engineOptions, ...asked }, machine.heldBytes));
  });
  app.post("/ui/models/:id/load", async (c) => {
    const { when = "drained", contextTokens } = checked(await readJson(c, context.config), loadSchema);
    const path = await folder.path(c.req.param("id"));
    const options = { ...model.engineOptions, ...(contextTokens !== undefined && { contextTokens }) };
    // Its progress and its end are the page's to watch: `state` events.
    change.begin(path, options, when);
    return c.json({ loading: true }, 202);
  });
  if (context.config.computerModels) mountPulls(app, context, pulls, () => machine.heldBytes);
  app.delete("/ui/models/change", (c) => {
    change.cancel();
    return c.body(null, 204);
  });
}
