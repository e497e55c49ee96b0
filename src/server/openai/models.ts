/** `/v1/models`: the one model that is served. */
import type { Hono } from "hono";
import { speaksAnthropic } from "../anthropic/failure.js";
import { anthropicModel, anthropicModels } from "../anthropic/models.js";
import { HttpError } from "../http/http-error.js";
import { bothPaths } from "../http/paths.js";
import type { ServerContext } from "../service/context.js";

export function modelRoutes(app: Hono, { model, config }: ServerContext): void {
  const started = Math.floor(Date.now() / 1000);
  const describe = () => {
    const { info } = model;
    return {
      id: model.id,
      object: "model",
      created: started,
      owned_by: "hundredweight",
      status: model.state.phase,
      ...(config.aliases.length > 0 && { aliases: config.aliases }),
      ...(config.tags.length > 0 && { tags: config.tags }),
      ...(info !== undefined && {
        max_model_len: info.contextTokens,
        meta: {
          n_vocab: info.vocab,
          n_ctx: info.contextTokens,
          n_ctx_train: info.trainedContextTokens,
          n_embd: info.dim,
          n_params: info.parameters,
          size: info.weightBytes,
          ftype: info.fileType ?? null,
          architecture: info.architecture,
          name: info.name ?? null,
          vocab: info.vocab,
          trained_context: info.trainedContextTokens,
          weight_bytes: info.weightBytes,
          kv_type: info.kvType,
          chat_template: info.chatTemplate !== undefined,
          // The plan has a line for every tensor; the page gets it.
          residency: { ...info.residency, plan: undefined },
        },
      }),
    };
  };
  app.on("GET", bothPaths("/models"), (c) =>
    c.json(speaksAnthropic(c) ? anthropicModels(model, started) : { object: "list", data: [describe()] }),
  );
  app.on("GET", bothPaths("/models/:id{.+}"), (c) => {
    const id = c.req.param("id") ?? "";
    if (id === model.id || config.aliases.includes(id)) {
      return c.json(speaksAnthropic(c) ? anthropicModel(model, started) : describe());
    }
    throw new HttpError(404, `this server serves '${model.id}' only`, { param: "model", code: "model_not_found" });
  });
}
