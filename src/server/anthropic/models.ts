/** The model that is served, as Anthropic's clients list models. */
import type { ModelService } from "../service/model-service.js";

/** @param started seconds since 1970 */
export function anthropicModel({ id, info }: ModelService, started: number): object {
  const context = info?.contextTokens ?? null;
  return {
    type: "model",
    id,
    display_name: info?.name ?? id,
    created_at: new Date(started * 1000).toISOString(),
    max_input_tokens: context,
    max_tokens: context,
    capabilities: null,
    lifecycle: "active",
    line: null,
    deprecated_at: null,
    retires_at: null,
  };
}

export function anthropicModels(model: ModelService, started: number): object {
  const { id } = model;
  return { data: [anthropicModel(model, started)], has_more: false, first_id: id, last_id: id };
}
