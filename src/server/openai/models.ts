/** `/v1/models`: the model that is served, and with `--models` those that a request may change to. */
import type { Hono } from "hono";
import { listedName } from "../../store/folder.js";
import type { FolderModel } from "../../store/listing.js";
import { speaksAnthropic } from "../anthropic/failure.js";
import { anthropicList, anthropicModel } from "../anthropic/models.js";
import { HttpError } from "../http/http-error.js";
import { bothPaths } from "../http/paths.js";
import type { ServerContext } from "../service/context.js";
import { otherModels } from "../service/named-model.js";

export function modelRoutes(app: Hono, context: ServerContext): void {
  const { model, config } = context;
  const started = Math.floor(Date.now() / 1000);
  const describe = () => {
    const { info } = model;
    return {
      id: model.id,
      object: "model",
      created: started,
      owned_by: owner,
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
  const served = () => ({ id: model.id, name: model.info?.name, contextTokens: model.info?.contextTokens, started });
  app.on("GET", bothPaths("/models"), async (c) => {
    const others = await otherModels(context);
    if (speaksAnthropic(c)) return c.json(anthropicList([served(), ...others.map(shortly)]));
    return c.json({ object: "list", data: [describe(), ...others.map(describeOther)] });
  });
  app.on("GET", bothPaths("/models/:id{.+}"), async (c) => {
    const id = c.req.param("id") ?? "";
    if (id === model.id || config.aliases.includes(id))
      return c.json(speaksAnthropic(c) ? anthropicModel(served()) : describe());
    const other = (await otherModels(context)).find(({ file }) => id === listedName(file));
    if (other !== undefined) return c.json(speaksAnthropic(c) ? anthropicModel(shortly(other)) : describeOther(other));
    const what = context.models === undefined ? `this server serves '${model.id}' only` : "there is no such model here";
    throw new HttpError(404, what, { param: "model", code: "model_not_found" });
  });
}

const owner = "hundredweight";

const secondsOf = (time: string): number => Math.floor(Date.parse(time) / 1000);

/** A model that is not loaded, by what its header says: its context is chosen when it is. */
function describeOther(model: FolderModel): object {
  const { contextTokens, parameters, bytes, fileType, architecture, name } = model;
  return {
    id: listedName(model.file),
    object: "model",
    created: secondsOf(model.modifiedAt),
    owned_by: owner,
    status: "unloaded",
    meta: {
      n_ctx_train: contextTokens ?? null,
      n_params: parameters ?? null,
      size: bytes,
      ftype: fileType ?? null,
      architecture: architecture ?? null,
      name: name ?? null,
    },
  };
}

function shortly({ file, name, modifiedAt }: FolderModel) {
  return { id: listedName(file), name, contextTokens: undefined, started: secondsOf(modifiedAt) };
}
