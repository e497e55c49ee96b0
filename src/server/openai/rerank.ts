/**
 * `/v1/rerank` and its other names: how well documents answer a query. With `documents` as Jina, Cohere and llama.cpp
 * have it, with `texts` as text-embeddings-inference.
 */
import type { Hono } from "hono";
import { z } from "zod";
import type { RankRequest } from "../../link/protocol.js";
import { respondEach } from "../answers/each.js";
import { fitting, servedFor, userOf } from "../answers/request.js";
import { readJson } from "../http/body.js";
import { atMostOne, needsOne, ruled } from "../http/field-rules.js";
import { wrongField } from "../http/http-error.js";
import { rerankPaths } from "../http/paths.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";

/** Cohere's limit. */
const mostDocuments = 10_000;

const rerankObject = z.object({
  model: z.string().max(500).optional(),
  query: z.string(),
  documents: z
    .array(z.union([z.string(), z.looseObject({ text: z.string() })], "a text or an object with a `text`"))
    .min(1)
    .max(mostDocuments)
    .optional(),
  texts: z
    .array(z.string())
    .min(1)
    .max(mostDocuments)
    .optional()
    .describe("Instead of documents: the answer is a list of `{index, score}`."),
  top_n: z.int().min(1).optional().describe("The best so many. Default: all."),
  return_documents: z.boolean().optional(),
  return_text: z.boolean().optional().describe("The same beside `texts`."),
  raw_scores: z.boolean().optional().describe("Beside `texts`: scores as the model gives them, not as probabilities."),
  max_tokens_per_doc: z
    .int()
    .min(1)
    .optional()
    .describe("Documents are cut to so many tokens. Default: refused when too long."),
  user: z.string().max(500).optional(),
});

export const rerankSchema = ruled(
  rerankObject,
  needsOne("give one of `documents` and `texts`", "documents", "texts"),
  atMostOne("is there already: give one of them", { texts: false, documents: false }),
);

type RerankInput = z.output<typeof rerankSchema>;

interface Scored {
  readonly index: number;
  readonly score: number;
}

export function rerankRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", rerankPaths, async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(rerankSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const documents = documentsOf(value);
    const served = await servedFor(c, context, value.model, warnings);
    const { vectors } = served.info;
    if (vectors?.pooling !== "rank")
      throw wrongField("model", "model: this one is no reranker: its file names no pooling 'rank'");
    return respondEach<RankRequest>({
      ...{ c, context, served, warnings },
      encode: () => encodePairs(value, documents, served),
      request: { kind: "rank", user: userOf(c, value.user), scope: ownerOf(c, context.config) },
      body(results, tokens) {
        const found = results.map(({ scores }, index) => ({ index, score: scores[0]! }));
        found.sort((a, b) => b.score - a.score || a.index - b.index);
        const best = found.slice(0, value.top_n ?? found.length);
        if (value.texts !== undefined) return shapeOfTexts(best, value, !vectors.softmax);
        const ranked = best.map(({ index, score }) => ({
          index,
          relevance_score: score,
          ...(value.return_documents && { document: { text: documents[index]! } }),
        }));
        const usage = { prompt_tokens: tokens, total_tokens: tokens };
        return { model: served.id, object: "list", usage, results: ranked };
      },
    });
  });
}

function documentsOf({ documents = [], texts }: RerankInput): string[] {
  return texts ?? documents.map((document) => (typeof document === "string" ? document : document.text));
}

/** @throws HttpError 400 with both counts for a pair that is too long */
async function encodePairs(
  value: RerankInput,
  documents: readonly string[],
  served: ServedModel,
): Promise<Int32Array[]> {
  const { text, info } = served;
  const most = info.contextTokens;
  const pairs: Int32Array[] = [];
  for (const [index, document] of documents.entries()) {
    const { query, max_tokens_per_doc: cut } = value;
    const request = { kind: "encodePair", query, document, most, ...(cut !== undefined && { cut }) } as const;
    pairs.push(fitting(await text.perform(request), most, `documents[${index}]`));
  }
  return pairs;
}

/** As text-embeddings-inference answers. Its scores are probabilities unless raw ones are asked for. */
function shapeOfTexts(
  best: readonly Scored[],
  { texts, raw_scores, return_text }: RerankInput,
  logits: boolean,
): object {
  return best.map(({ index, score }) => ({
    index,
    score: logits && raw_scores !== true ? 1 / (1 + Math.exp(-score)) : score,
    ...(return_text && { text: texts![index]! }),
  }));
}
