/** `/openapi.json`: the requests, made from the schemas that check them. */
import type { Hono } from "hono";
import { z } from "zod";
import { packageVersion } from "../../package-root.js";
import { chatSchema } from "../openai/chat.js";
import { completionSchema } from "../openai/completion-input.js";
import { embeddingSchema } from "../openai/embeddings.js";
import { rerankSchema } from "../openai/rerank.js";
import { detokenizeSchema, templateSchema, tokenizeSchema } from "./text.js";

const posts: readonly (readonly [path: string, summary: string, schema: z.ZodObject])[] = [
  ["/v1/chat/completions", "Answer a conversation", chatSchema],
  ["/v1/completions", "Continue a text", completionSchema],
  ["/v1/embeddings", "Vectors for texts", embeddingSchema],
  ["/v1/rerank", "How well documents answer a query", rerankSchema],
  ["/tokenize", "Token ids of a text", tokenizeSchema],
  ["/detokenize", "Text of token ids", detokenizeSchema],
  ["/apply-template", "A conversation as the prompt the model sees", templateSchema],
];

const gets: readonly (readonly [path: string, summary: string])[] = [
  ["/v1/models", "The model that is served"],
  ["/health", "Whether the server lives; needs no key"],
  ["/ready", "Whether the model can answer: 200, or 503 with the state of its loading"],
  ["/metrics", "Counters and gauges for Prometheus"],
];

export function openApi(): object {
  const content = (schema: object) => ({ "application/json": { schema } });
  const failure = { description: "OpenAI's error object", content: content({ $ref: "#/components/schemas/Error" }) };
  const paths: Record<string, object> = {};
  for (const [path, summary, schema] of posts) {
    // Unknown fields are taken and named in the header x-hundredweight-warnings.
    const body = { ...z.toJSONSchema(schema, { io: "input", target: "draft-2020-12" }), additionalProperties: true };
    delete (body as { $schema?: string }).$schema;
    paths[path] = {
      post: {
        summary,
        requestBody: { required: true, content: content(body) },
        responses: { 200: { description: "The answer" }, "4XX": failure, "5XX": failure },
      },
    };
  }
  for (const [path, summary] of gets) {
    paths[path] = { get: { summary, responses: { 200: { description: "The answer" } } } };
  }
  return {
    openapi: "3.1.0",
    info: { title: "hundredweight", version: packageVersion(), license: { name: "Apache-2.0" } },
    paths,
    components: { schemas: { Error: errorSchema }, securitySchemes: { key: { type: "http", scheme: "bearer" } } },
  };
}

const text = { type: ["string", "null"] };
const errorSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["message", "type", "param", "code"],
      properties: { message: { type: "string" }, type: { type: "string" }, param: text, code: text },
    },
  },
};

export function openApiRoutes(app: Hono): void {
  app.get("/openapi.json", (c) => c.json(openApi()));
}
