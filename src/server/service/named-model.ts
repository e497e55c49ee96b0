/** Models beside the one that is served, where the server may change: listed, and opened when a request names one. */
import { setTimeout as pause } from "node:timers/promises";
import type { FolderModel } from "../../store/listing.js";
import type { ServerContext } from "./context.js";
import { modelId, type ServedModel } from "./model-service.js";

/** Whether this is a name of the model, with or without Ollama's tag for the newest; its file's name is one, too. */
export function isNamed({ names, info }: ServedModel, name: string): boolean {
  const all = [...names, modelId(info.path)];
  return all.includes(name) || all.includes(name.replace(/:latest$/, ""));
}

/** Those that could be changed to; without `--models` none. */
export async function otherModels({ models, model }: ServerContext): Promise<readonly FolderModel[]> {
  const listing = await models?.list(model.state.path);
  return listing?.models.filter(({ loaded, fault }) => !loaded && fault === undefined) ?? [];
}

/**
 * Changes to the model of this name. Does nothing for the model that is served, for names of no model here, and where
 * one model is served.
 * @throws whatever opening the model throws
 */
export async function changeTo(
  name: string | undefined,
  { model, models, gate, config }: ServerContext,
): Promise<void> {
  const loading = (): boolean => model.state.phase === "loading";
  if (name === undefined || name === "" || models === undefined || loading()) return;
  if (model.state.phase === "ready" && isNamed(model.require(), name)) return;
  const found = await models.named(name);
  if (found === undefined || (found.path === model.state.path && model.state.phase === "ready")) return;
  // Somebody else's change began meanwhile.
  if (loading()) return;
  const drained = Promise.race([gate.whenIdle(), pause(config.drainTimeoutMs)]);
  await model.open(found.path, model.engineOptions, drained);
}
