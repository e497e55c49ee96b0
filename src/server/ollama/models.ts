/** Tells of models as Ollama's API does: of the one that is served, and of those that can be changed to. */
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { basename } from "node:path";
import type { Hono } from "hono";
import { mergeSampling } from "../../sampling/settings.js";
import { listedName } from "../../store/folder.js";
import type { FolderModel } from "../../store/listing.js";
import { samplingSettings } from "../answers/told-settings.js";
import { readJson } from "../http/body.js";
import { wrongField } from "../http/http-error.js";
import { validate } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { isNamed, otherModels } from "../service/named-model.js";
import { notFound, notOffered } from "./failure.js";
import { showSchema } from "./request.js";

/** The state of Ollama's API that is spoken: clients ask for a least one. */
const apiVersion = "0.12.6";
/** "For ever", as Ollama writes it: about 290 years. */
const forEver = 9.2e12;

export function ollamaModelRoutes(app: Hono, context: ServerContext): void {
  const { model } = context;
  app.get("/api/version", (c) => c.json({ version: apiVersion }));

  app.get("/api/tags", async (c) => {
    const served = model.state.phase === "ready" ? [model.require()] : [];
    const own = served.flatMap((one) => namesOf(one).map((name) => entryOf(one, name)));
    const others = (await otherModels(context)).map(listedEntry);
    return c.json({ models: [...own, ...others] });
  });

  app.get("/api/ps", (c) => {
    const served = model.state.phase === "ready" ? [model.require()] : [];
    const expires_at = new Date(Date.now() + forEver).toISOString();
    return c.json({
      models: served.map((one) => ({
        ...entryOf(one, namesOf(one)[0]!),
        expires_at,
        size_vram: 0,
        context_length: one.info.contextTokens,
      })),
    });
  });

  app.post("/api/show", async (c) => {
    const { value } = validate(showSchema, await readJson(c, context.config));
    const name = value.model ?? value.name;
    if (name === undefined) throw wrongField("model", "model: is missing");
    const served = model.require();
    const { info } = served;
    if (!isNamed(served, name)) {
      const found = await context.models?.named(name);
      if (found === undefined) throw notFound(name, served.id);
      return c.json(listedFacts(found));
    }
    const { architecture } = info;
    return c.json({
      modelfile: `# The file that this server was started with\nFROM ${basename(info.path)}\n`,
      parameters: parametersOf(served),
      template: info.chatTemplate ?? "",
      details: detailsOf(served),
      model_info: {
        ...info.header,
        "general.parameter_count": info.parameters,
        // What a client may send, not what the model was trained for.
        [`${architecture}.context_length`]: info.contextTokens,
      },
      capabilities: await capabilitiesOf(served),
      modified_at: fileOf(info.path).modified,
    });
  });

  const off = "is off: models are the business of whoever starts the server";
  for (const what of ["push", "create", "copy"]) {
    app.post(`/api/${what}`, () => {
      throw notOffered(`${what} ${off}`);
    });
  }
  app.delete("/api/delete", () => {
    throw notOffered(`delete ${off}`);
  });
  app.on(["HEAD", "POST"], "/api/blobs/:digest", () => {
    throw notOffered(`blobs: create ${off}`);
  });
}

const tagged = (name: string): string => (name.includes(":") ? name : `${name}:latest`);

/** A name without a tag is that of the newest. */
function namesOf({ names }: ServedModel): string[] {
  return [...new Set(names)].map(tagged);
}

/** A model that is not loaded, by what its header says. */
function listedEntry(model: FolderModel): object {
  const name = tagged(listedName(model.file));
  const digest = createHash("sha256").update(`${model.id}\n${model.bytes}\n${model.modifiedAt}`).digest("hex");
  return { name, model: name, modified_at: model.modifiedAt, size: model.bytes, digest, details: listedDetails(model) };
}

function listedDetails({ architecture = "unknown", parameters = 0, fileType = "unknown" }: FolderModel): object {
  return {
    parent_model: "",
    format: "gguf",
    family: architecture,
    families: [architecture],
    parameter_size: sizeText(parameters),
    quantization_level: fileType,
  };
}

function listedFacts(model: FolderModel): object {
  const { architecture = "unknown", parameters = 0, contextTokens } = model;
  return {
    modelfile: `FROM ${listedName(model.file)}\n`,
    parameters: "",
    template: "",
    details: listedDetails(model),
    model_info: {
      "general.architecture": architecture,
      "general.parameter_count": parameters,
      ...(contextTokens !== undefined && { [`${architecture}.context_length`]: contextTokens }),
    },
    capabilities: ["completion"],
    modified_at: model.modifiedAt,
  };
}

function entryOf(served: ServedModel, name: string): object {
  const { info } = served;
  const { modified, digest } = fileOf(info.path);
  return { name, model: name, modified_at: modified, size: info.weightBytes, digest, details: detailsOf(served) };
}

/** Not of the file's content, which may be hundreds of gigabytes: it changes when the file does. */
function fileOf(path: string): { modified: string; digest: string } {
  const { mtime, size } = statSync(path, { throwIfNoEntry: false }) ?? { mtime: new Date(0), size: 0 };
  const digest = createHash("sha256")
    .update(`${basename(path)}\n${size}\n${mtime.getTime()}`)
    .digest("hex");
  return { modified: mtime.toISOString(), digest };
}

function detailsOf({ info }: ServedModel): object {
  return {
    parent_model: "",
    format: "gguf",
    family: info.architecture,
    families: [info.architecture],
    parameter_size: sizeText(info.parameters),
    quantization_level: info.fileType ?? "unknown",
  };
}

/** 134,515,008 -> 134.5M */
function sizeText(count: number): string {
  for (const [unit, letter] of [
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "K"],
  ] as const) {
    if (count >= unit) return `${(count / unit).toFixed(1)}${letter}`;
  }
  return String(count);
}

function parametersOf({ info }: ServedModel): string {
  const told = samplingSettings(mergeSampling({}, info.samplingDefaults)) as Record<string, unknown>;
  const names = ["temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n"];
  return names.map((name) => `${name.padEnd(30)} ${told[name]}`).join("\n");
}

async function capabilitiesOf({ info, text }: ServedModel): Promise<string[]> {
  const { tools, thinking } = await text.perform({ kind: "abilities" });
  const { prefix, suffix, middle } = text.info.fim;
  const writes = info.vectors?.only !== true;
  return [
    ...(writes ? ["completion"] : []),
    ...(writes && tools ? ["tools"] : []),
    ...(writes && thinking ? ["thinking"] : []),
    ...(writes && [prefix, suffix, middle].every((id) => id !== undefined) ? ["insert"] : []),
    ...(info.vectors?.pooling === "rank" ? [] : ["embedding"]),
  ];
}
