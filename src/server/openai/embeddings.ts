/** `/v1/embeddings`: one vector for each text, or token list. */
import type { Hono } from "hono";
import { z } from "zod";
import type { EmbedRequest } from "../../link/protocol.js";
import { respondEach } from "../answers/each.js";
import { userOf, warnOfModel } from "../answers/request.js";
import { readJson } from "../http/body.js";
import { wrongField } from "../http/http-error.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { promptSchema } from "./completion-input.js";
import { encodePrompts, promptsOf } from "./completions.js";
import { bothPaths } from "./fields.js";

export const embeddingSchema = z.object({
  model: z.string().max(500).optional(),
  input: promptSchema,
  encoding_format: z.enum(["float", "base64"]).optional(),
  dimensions: z
    .int()
    .min(1)
    .optional()
    .describe("The first so many numbers, normalized behind the cut; at most the model's own number."),
  pooling: z
    .enum(["none", "mean", "cls", "last"])
    .optional()
    .describe("How the tokens become one vector; `none`: a vector for each. Default what the file says, else mean."),
  embd_normalize: z
    .number()
    .min(-1)
    .max(1000)
    .optional()
    .describe("llama.cpp's: -1 as they are, 0 the largest becomes 32760, p the p-norm becomes 1. Default 2."),
  user: z.string().max(500).optional(),
});

/** Inputs of one request, as OpenAI has it. */
const mostInputs = 2048;

export function embeddingRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", bothPaths("/embeddings"), async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(embeddingSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const inputs = promptsOf(value.input);
    if (inputs.length > mostInputs) throw wrongField("input", `input: more than ${mostInputs} texts`);
    const { encoding_format: format = "float", pooling, dimensions, embd_normalize: normalize } = value;
    if (pooling === "none" && format === "base64")
      throw wrongField("encoding_format", "encoding_format: without pooling vectors come as numbers only");
    const served = context.model.require();
    warnOfModel(value.model, served, warnings);
    check(served, dimensions);
    const release = context.gate.enter(1);
    try {
      const tokens = await encodePrompts(inputs, served, { parse_special: false }, "input");
      const user = userOf(c, value.user);
      const request = (index: number): EmbedRequest => ({
        kind: "embed",
        prompt: { kind: "tokens", tokens: tokens[index]! },
        ...(pooling !== undefined && { pooling }),
        ...(dimensions !== undefined && { dimensions }),
        ...(normalize !== undefined && { normalize }),
        user,
      });
      return respondEach({
        ...{ c, context, served, warnings, release, request },
        count: tokens.length,
        body(results) {
          const count = results.reduce((sum, result) => sum + result.tokens, 0);
          context.metrics.promptTokens.add(count);
          const data = results.map(({ embedding, tokens: rows }, index) => ({
            object: "embedding",
            index,
            embedding: pooling === "none" ? rowsOf(embedding, rows) : written(embedding, format),
          }));
          return { object: "list", data, model: served.id, usage: { prompt_tokens: count, total_tokens: count } };
        },
      });
    } catch (error) {
      release();
      throw error;
    }
  });
}

/** @throws HttpError 400 for what the model cannot do, before anything waits */
function check({ info }: ServedModel, dimensions: number | undefined): void {
  const { dim, vectors } = info;
  if (dimensions !== undefined && dimensions > dim)
    throw wrongField(
      "dimensions",
      `dimensions: vectors of this model have ${dim} numbers, ${dimensions} cannot be had`,
    );
  if (vectors?.pooling === "rank")
    throw wrongField("model", "model: this one is a reranker; it makes scores (/v1/rerank), not vectors");
}

function written(vector: Float32Array, format: "float" | "base64"): number[] | string {
  if (format === "float") return [...vector];
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
}

function rowsOf(values: Float32Array, rows: number): number[][] {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, r) => [...values.subarray(r * width, (r + 1) * width)]);
}
