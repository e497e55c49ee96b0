/** The live feed of the page, and models of a folder. */
import { setTimeout as pause } from "node:timers/promises";
import type { Hono } from "hono";
import { ModelFolder } from "../../store/folder.js";
import type { ServerContext } from "../service/context.js";
import { eventStream } from "./event-stream.js";
import { type Machine, sampleEveryMs } from "./machine.js";
import { currentPlan, pageState } from "./page-state.js";
import type { MachineEvent } from "./wire.js";

export function mountMachine(
  app: Hono,
  context: ServerContext,
  machine: Machine,
  onConversations: (listener: () => void) => () => void,
): void {
  const { model, draining, ending } = context;
  const startedAt = new Date().toISOString();
  const state = (): MachineEvent => ({ type: "state", state: pageState(context, startedAt) });
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
        // What has been read is no change of phase: it is looked at.
        let told = 0;
        const loading = setInterval(() => {
          if (model.state.loadedBytes === told) return;
          told = model.state.loadedBytes;
          send(state());
        }, sampleEveryMs);
        draining.addEventListener("abort", tell);
        const ends = [
          () => clearInterval(loading),
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
        merge: (before, after) => (before.type === after.type && after.type === "conversations" ? after : undefined),
        // A server that drains says so.
        signal: AbortSignal.any([c.req.raw.signal, ending]),
      },
    ),
  );

  const { modelsFolder } = context.config;
  if (modelsFolder === undefined) return;
  const folder = new ModelFolder(modelsFolder);
  app.get("/ui/models", async (c) => c.json(await folder.list(model.state.path)));
  app.get("/ui/models/:id/plan", async (c) =>
    c.json(await folder.plan(c.req.param("id"), model.engineOptions, machine.heldBytes)),
  );
  app.post("/ui/models/:id/load", async (c) => {
    const path = await folder.path(c.req.param("id"));
    // Its progress and its end are the page's to watch: `state` events.
    const drained = Promise.race([context.gate.whenIdle(), pause(context.config.drainTimeoutMs)]);
    model.open(path, model.engineOptions, drained).catch((error: Error) => context.log(error.message));
    return c.json({ loading: true }, 202);
  });
}
