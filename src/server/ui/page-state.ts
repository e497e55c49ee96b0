/** The server as the page shows it. */
import { packageVersion } from "../../package-root.js";
import type { ServerContext } from "../service/context.js";
import { modelId } from "../service/model-service.js";
import { samplingDefaults } from "./answer-maker.js";
import type { ModelState, PageState, PlanSummary } from "./wire.js";

const version = packageVersion();

export function pageState({ model, config, draining }: ServerContext, startedAt: string): PageState {
  const hasFolder = config.computerModels || config.modelsFolder !== undefined;
  return { version, startedAt, draining: draining.aborted, model: modelState(model), hasFolder };
}

function modelState({ state, id, info }: ServerContext["model"]): ModelState {
  const { phase, path, since, error, loadedBytes, totalBytes } = state;
  const name = path === "" ? id : modelId(path);
  if (phase === "closed") return { state: "none" };
  if (phase === "failed") return { state: "failed", name, error: error ?? "" };
  if (phase !== "ready" || info === undefined) {
    const seconds = (Date.now() - since) / 1000;
    return {
      state: "loading",
      name,
      seconds,
      loadedBytes,
      totalBytes,
      restarting: phase === "restarting",
      ...(error !== undefined && { error }),
    };
  }
  const { architecture, weightBytes, contextTokens, trainedContextTokens, kvType, ops, chatTemplate } = info;
  return {
    state: "ready",
    model: {
      name: id,
      architecture,
      weightBytes,
      contextTokens,
      trainedContextTokens,
      kvType,
      ops,
      hasTemplate: chatTemplate !== undefined,
      sampling: samplingDefaults(info),
    },
  };
}

/** The plan the engine itself made, and therefore follows. */
export function currentPlan({ model }: ServerContext): PlanSummary | null {
  return (model.state.phase === "ready" ? model.info?.residency.plan : undefined) ?? null;
}
