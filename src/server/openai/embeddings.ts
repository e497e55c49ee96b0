/** `/v1/embeddings`: one vector for each text, or token list. */
import type { Context, Hono } from "hono";
import { z } from "zod";
import type { ResultOf } from "../../link/client.js";
import type { EmbedRequest } from "../../link/protocol.js";
import { respondEach } from "../answers/each.js";
import { encodeMixed, mixedPrompt, type OnePrompt, promptsOf } from "../answers/mixed-prompt.js";
import { servedFor, userOf } from "../answers/request.js";
import { readJson } from "../http/body.js";
import { atMostOne, needsOne, rule, ruled } from "../http/field-rules.js";
import { wrongField } from "../http/http-error.js";
import { ownerOf } from "../http/security.js";
import { marked } from "../http/served-limits.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";

const embeddingObject = z.object({
  model: z.string().max(500).optional(),
  input: mixedPrompt,
  encoding_format: z.enum(["float", "base64"]).optional(),
  dimensions: z
    .int()
    .min(1)
    .meta(marked({ limits: { maximum: "dimensions" } }))
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

const rowsAsNumbers = rule("encoding_format", "without pooling vectors come as numbers only", {
  anyOf: [
    { properties: { pooling: { enum: [null, "mean", "cls", "last"] } } },
    { properties: { encoding_format: { enum: [null, "float"] } } },
  ],
});

export const embeddingSchema = ruled(embeddingObject, rowsAsNumbers);

export const llamaEmbeddingSchema = ruled(
  embeddingObject
    .omit({ input: true })
    .extend({ input: mixedPrompt.optional(), content: mixedPrompt.optional().describe("llama.cpp's name of input.") }),
  rowsAsNumbers,
  needsOne("is missing", "content", "input"),
  atMostOne("is there already: give one of them", { input: false, content: false }),
);

/** Inputs of one request, as OpenAI has it. */
const mostInputs = 2048;

export function embeddingRoutes(app: Hono, context: ServerContext): void {
  const { pooling: usual } = context.config.answers;
  app.post("/v1/embeddings", async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(embeddingSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    // OpenAI's clients expect one vector for each text: a vector for each token has to be asked for.
    if (usual === "none" && value.pooling === undefined)
      throw wrongField("pooling", "pooling: this server was started with 'none', which has to be asked for here");
    return embed(c, context, value, warnings, openAiShape(value));
  });

  app.on("POST", ["/embedding", "/embeddings"], async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(llamaEmbeddingSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const { content, input = content, ...rest } = value;
    if (input === undefined) throw wrongField("content", "content: is missing");
    const rows = (value.pooling ?? usual) === "none";
    // Vectors of single tokens are as they are, as llama-server has them.
    const normalize = rows ? { embd_normalize: value.embd_normalize ?? -1 } : {};
    return embed(c, context, { ...rest, input, ...normalize }, warnings, llamaShape(rows));
  });
}

type EmbeddingInput = z.output<typeof embeddingSchema>;
type Shape = (served: ServedModel, results: readonly ResultOf<EmbedRequest>[], count: number) => object;

async function embed(
  c: Context,
  context: ServerContext,
  value: EmbeddingInput,
  warnings: Warnings,
  shape: Shape,
): Promise<Response> {
  const inputs = inputsOf(value.input);
  if (inputs.length > mostInputs) throw wrongField("input", `input: more than ${mostInputs} texts`);
  const { encoding_format: format = "float", dimensions } = value;
  const { answers } = context.config;
  const pooling = value.pooling ?? answers.pooling;
  const normalize = value.embd_normalize ?? answers.normalize;
  if (pooling === "none" && format === "base64")
    throw wrongField("encoding_format", "encoding_format: without pooling vectors come as numbers only");
  const served = await servedFor(c, context, value.model, warnings);
  checkVectors(served, dimensions);
  return respondEach<EmbedRequest>({
    ...{ c, context, served, warnings },
    encode: () =>
      Promise.all(inputs.map((one: OnePrompt) => encodeMixed(one, served, { parse_special: false }, "input"))),
    request: {
      kind: "embed",
      ...(pooling !== undefined && { pooling }),
      ...(dimensions !== undefined && { dimensions }),
      ...(normalize !== undefined && { normalize }),
      user: userOf(c, value.user),
      scope: ownerOf(c, context.config),
    },
    body: (results, tokens) => shape(served, results, tokens),
  });
}

function openAiShape({ encoding_format: format = "float", pooling }: EmbeddingInput): Shape {
  return (served, results, count) => {
    const data = results.map(({ embedding, tokens: rows }, index) => ({
      object: "embedding",
      index,
      embedding: pooling === "none" ? rowsOf(embedding, rows) : written(embedding, format),
    }));
    return { object: "list", data, model: served.id, usage: { prompt_tokens: count, total_tokens: count } };
  };
}

/** llama-server's own: a list, and in it lists of vectors, of which there is one unless each token has its own. */
function llamaShape(rows: boolean): Shape {
  return (_, results) =>
    results.map(({ embedding, tokens }, index) => ({ index, embedding: rowsOf(embedding, rows ? tokens : 1) }));
}

/** A list with a number in it is one input in parts. */
function inputsOf(input: EmbeddingInput["input"]): readonly OnePrompt[] {
  return promptsOf(input).prompts;
}

/** @throws HttpError 400 for what the model cannot do, before anything waits */
export function checkVectors({ info }: ServedModel, dimensions: number | undefined): void {
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
