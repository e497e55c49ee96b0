/** `/api/embed`, and `/api/embeddings`, which is older and takes one text. */
import type { Context, Hono } from "hono";
import type { EmbedRequest } from "../../link/protocol.js";
import { respondEach } from "../answers/each.js";
import { encodeMixed } from "../answers/mixed-prompt.js";
import { servedFor, userOf } from "../answers/request.js";
import { readJson } from "../http/body.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import { checkVectors } from "../openai/embeddings.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { embeddingsSchema, embedSchema } from "./request.js";
import { nanoseconds } from "./shape.js";

interface Asked {
  readonly model: string | undefined;
  readonly texts: readonly string[];
  readonly cut: boolean;
  readonly request: Pick<EmbedRequest, "dimensions" | "normalize">;
  readonly shape: (served: ServedModel, vectors: readonly number[][], tokens: number) => object;
}

export function ollamaEmbedRoutes(app: Hono, context: ServerContext): void {
  app.post("/api/embed", async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(embedSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const { model, input, dimensions, truncate: cut = false } = value;
    const texts = typeof input === "string" ? [input] : input;
    return embed(c, context, warnings, {
      ...{ model, texts, cut },
      request: dimensions === undefined ? {} : { dimensions },
      shape: (served, embeddings, tokens) => ({
        model: model ?? served.id,
        embeddings,
        total_duration: nanoseconds(performance.now() - arrived),
        load_duration: 0,
        prompt_eval_count: tokens,
      }),
    });
  });

  app.post("/api/embeddings", async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(embeddingsSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    // Its vectors are as the model made them.
    const request = { normalize: -1 };
    const shape: Asked["shape"] = (_, [embedding = []]) => ({ embedding });
    return embed(c, context, warnings, { model: value.model, texts: [value.prompt], cut: false, request, shape });
  });
}

async function embed(c: Context, context: ServerContext, warnings: Warnings, asked: Asked): Promise<Response> {
  const served = await servedFor(c, context, asked.model, warnings);
  checkVectors(served, asked.request.dimensions);
  return respondEach<EmbedRequest>({
    ...{ c, context, served, warnings },
    encode: () => Promise.all(asked.texts.map((text) => tokensOf(text, served, asked.cut))),
    request: { kind: "embed", ...asked.request, user: userOf(c, undefined), scope: ownerOf(c, context.config) },
    body: (results, tokens) =>
      asked.shape(
        served,
        results.map(({ embedding }) => [...embedding]),
        tokens,
      ),
  });
}

/** @param cut what is too long loses its end */
async function tokensOf(text: string, served: ServedModel, cut: boolean): Promise<Int32Array> {
  if (!cut) return encodeMixed(text, served, { parse_special: false }, "input");
  const most = served.info.contextTokens;
  const all = await served.text.perform({ kind: "encode", text, addSpecial: true, parseSpecial: false });
  return all.length <= most ? encodeMixed(text, served, { parse_special: false }, "input") : all.slice(0, most);
}
