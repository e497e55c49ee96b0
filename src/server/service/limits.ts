/** The limits of the model that is served, for `/openapi.json`. */
import type { ServedLimits } from "../http/served-limits.js";
import type { ServerContext } from "./context.js";

/** @returns undefined while no model is ready */
export function servedLimits({ config, model }: ServerContext): ServedLimits | undefined {
  if (model.state.phase !== "ready") return undefined;
  const { info, text } = model.require();
  const gap = Object.values(text.info.fim).every((token) => token !== undefined);
  return {
    token: info.vocab - 1,
    dimensions: info.dim,
    context: info.contextTokens,
    answers: Math.min(config.maxChoices, config.maxAnswers),
    gap: gap ? config.maxBodyBytes : 0,
    adapter: (info.adapters ?? []).length - 1,
    ranks: info.vectors?.pooling === "rank",
  };
}
