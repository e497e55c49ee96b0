/** Models as Anthropic's clients list them. */
export interface ListedModel {
  readonly id: string;
  readonly name: string | undefined;
  /** Undefined: it is chosen when the model is loaded. */
  readonly contextTokens: number | undefined;
  /** Seconds since 1970. */
  readonly started: number;
}

export function anthropicModel({ id, name = id, contextTokens, started }: ListedModel): object {
  return {
    type: "model",
    id,
    display_name: name,
    created_at: new Date(started * 1000).toISOString(),
    max_input_tokens: contextTokens ?? null,
    max_tokens: contextTokens ?? null,
    capabilities: null,
    lifecycle: "active",
    line: null,
    deprecated_at: null,
    retires_at: null,
  };
}

export function anthropicList(models: readonly ListedModel[]): object {
  const data = models.map(anthropicModel);
  return { data, has_more: false, first_id: models[0]?.id ?? null, last_id: models.at(-1)?.id ?? null };
}
