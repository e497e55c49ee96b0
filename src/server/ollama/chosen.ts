/** Changes to the model that a request names, as Ollama does, where the server may change models. */
import { setTimeout as pause } from "node:timers/promises";
import type { ServerContext } from "../service/context.js";

/**
 * Does nothing for the model that is served, for names of no model here, and where one model is served.
 * @throws whatever opening the model throws
 */
export async function changeTo(
  name: string | undefined,
  { model, models, gate, config }: ServerContext,
): Promise<void> {
  if (name === undefined || name === "" || models === undefined || model.state.phase === "loading") return;
  const bare = name.replace(/:latest$/, "");
  if (model.state.phase === "ready" && [name, bare].some((each) => model.require().names.includes(each))) return;
  const found = await models.named(name);
  if (found === undefined || (found.path === model.state.path && model.state.phase === "ready")) return;
  const drained = Promise.race([gate.whenIdle(), pause(config.drainTimeoutMs)]);
  await model.open(found.path, model.engineOptions, drained);
}
