/** `/openapi.json`: requests and answers, made from the schemas that check them and from those that tests hold. */
import type { Hono } from "hono";
import { z } from "zod";
import { packageVersion } from "../../package-root.js";
import { anthropicRoutes } from "../anthropic/describe.js";
import { batchDescriptions } from "../batches/describe.js";
import {
  contentAnswer,
  healthAnswer,
  loadingAnswer,
  makesVectors,
  promptAnswer,
  type RouteDescription,
  readyAnswer,
  tokensAnswer,
} from "../http/description.js";
import { type ServedLimits, writeMarks } from "../http/served-limits.js";
import { llamaRoutes } from "../llama/describe.js";
import { ollamaRoutes } from "../ollama/describe.js";
import {
  chatAnswer,
  completionAnswer,
  embeddingAnswer,
  modelAnswer,
  modelsAnswer,
  rerankAnswer,
} from "../openai/answers.js";
import { chatSchema } from "../openai/chat.js";
import { completionSchema } from "../openai/completion-input.js";
import { embeddingSchema } from "../openai/embeddings.js";
import { rerankSchema } from "../openai/rerank.js";
import { responsesRoutes } from "../responses/describe.js";
import type { ServerContext } from "../service/context.js";
import { servedLimits } from "../service/limits.js";
import { detokenizeSchema, templateSchema, tokenizeSchema } from "./text.js";

type Post = readonly [path: string, summary: string, body: z.ZodObject, answer: z.ZodType, how?: object];

const late = { late: true };
const ranks = (limits: ServedLimits): boolean => limits.ranks;
const streamed = { late: true, streams: true };

const posts: readonly Post[] = [
  ["/v1/chat/completions", "Answer a conversation", chatSchema, chatAnswer, streamed],
  ["/v1/completions", "Continue a text", completionSchema, completionAnswer, streamed],
  ["/v1/embeddings", "Vectors for texts", embeddingSchema, embeddingAnswer, { ...late, needs: makesVectors }],
  ["/v1/rerank", "How well documents answer a query", rerankSchema, rerankAnswer, { ...late, needs: ranks }],
  ["/tokenize", "Token ids of a text", tokenizeSchema, tokensAnswer],
  ["/detokenize", "Text of token ids", detokenizeSchema, contentAnswer],
  ["/apply-template", "A conversation as the prompt the model sees", templateSchema, promptAnswer],
];

type Get = readonly [path: string, summary: string, answer?: z.ZodType, how?: object];

const gets: readonly Get[] = [
  [
    "/v1/models",
    "The model that is served, then those a request may change to; with `anthropic-version` as Anthropic lists them",
    modelsAnswer,
  ],
  ["/v1/models/{id}", "A model by its name", modelAnswer],
  ["/health", "Whether the server lives; needs no key", healthAnswer, { open: true }],
  [
    "/ready",
    "Whether the model can answer: 200, or 503; with a key also the state of its loading",
    readyAnswer,
    { open: true },
  ],
  ["/metrics", "Counters and gauges for Prometheus"],
  ["/openapi.json", "This document", z.looseObject({ openapi: z.string() })],
];

const routes: readonly RouteDescription[] = [
  ...posts.map(
    ([path, summary, body, answer, how]) => ({ method: "post", path, summary, body, answer, ...how }) as const,
  ),
  ...anthropicRoutes,
  ...responsesRoutes,
  ...batchDescriptions,
  ...llamaRoutes,
  ...ollamaRoutes,
  ...gets.map(
    ([path, summary, answer, how]) =>
      ({ method: "get", path, summary, modelless: true, ...(answer !== undefined && { answer }), ...how }) as const,
  ),
];

/**
 * @param limits of the model that is served; without them routes and fields are told as for a model that can all, or,
 *   while one is loading, routes that not every model has are left out
 */
export function openApi(limits?: ServedLimits, loading = false): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    if (route.needs !== undefined && (limits === undefined ? loading : !route.needs(limits))) continue;
    paths[route.path] ??= {};
    paths[route.path]![route.method] = operationOf(route, limits);
  }
  return {
    openapi: "3.1.0",
    info: { title: "hundredweight", version: packageVersion(), license: { name: "Apache-2.0" } },
    security: [{}, { bearer: [] }, { key: [] }],
    paths,
    components: {
      schemas: { Error: errorSchema, AnthropicError: anthropicErrorSchema, OllamaError: ollamaErrorSchema },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        key: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

function operationOf(route: RouteDescription, limits: ServedLimits | undefined): object {
  const { path, method, summary, body, answer, late: isLate, streams, lines, open, form } = route;
  const { failure: shape = "Error" } = route;
  const reference = { $ref: `#/components/schemas/${shape}` };
  const failure = { description: "What is wrong", content: json(reference) };
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const schema = answer && schemaOf(answer, "output");
  const content = {
    ...json(isLate === true && schema !== undefined ? { anyOf: [schema, reference] } : schema),
    ...(lines === true && { "application/x-ndjson": { schema: { type: "string" } } }),
    ...(streams === true && { "text/event-stream": { schema: { type: "string" } } }),
  };
  const states: Readonly<Record<string, object | undefined>> = {
    "/ready": schema,
    "/health": schemaOf(loadingAnswer, "output"),
  };
  const state = states[path];
  const loading = state === undefined ? failure : { ...failure, content: json(state) };
  return {
    summary,
    ...(open === true && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && {
      requestBody: { required: true, content: bodyContent(schemaOf(body, "input", limits), form) },
    }),
    responses: {
      200: {
        description: "The answer",
        content: schema === undefined ? { [route.bytes ?? "text/plain"]: {} } : content,
      },
      ...(open !== true && { 401: { ...failure, description: "A key is needed" } }),
      ...((route.modelless !== true || state !== undefined) && {
        503: { ...loading, description: "The model is not ready, or the server ends" },
      }),
      ...(method !== "get" || parameters.length > 0 ? { "4XX": failure, "5XX": failure } : {}),
    },
  };
}

function bodyContent(schema: object, form = false): object {
  return form ? { "multipart/form-data": { schema } } : json(schema);
}

function json(schema: object | undefined): object {
  return { "application/json": { ...(schema !== undefined && { schema }) } };
}

function schemaOf(schema: z.ZodType, io: "input" | "output", limits?: ServedLimits): object {
  const { $schema: _, ...made } = z.toJSONSchema(schema, {
    io,
    target: "draft-2020-12",
    unrepresentable: "any",
    override: ({ jsonSchema }) => writeMarks(jsonSchema as Record<string, unknown>, limits),
  });
  // Unknown fields of a body are taken and named in the header x-hundredweight-warnings.
  return io === "input" && made.type === "object" ? { ...nullable(made), additionalProperties: true } : made;
}

/** `null` counts as left out. */
function nullable({ properties = {}, required = [], ...others }: Schema): Schema {
  const listed = Object.entries(properties).filter(([, schema]) => !(schema as { unlisted?: boolean }).unlisted);
  const written = listed.map(([name, schema]) => {
    const given = required.includes(name) ? schema : { anyOf: [schema, { type: "null" }] };
    return [name, given] as const;
  });
  return { ...others, properties: Object.fromEntries(written), ...(required.length > 0 && { required }) };
}

type Schema = { readonly properties?: Readonly<Record<string, unknown>>; readonly required?: readonly string[] };

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
const ollamaErrorSchema = { type: "object", required: ["error"], properties: { error: { type: "string" } } };
const anthropicErrorSchema = {
  type: "object",
  required: ["type", "error", "request_id"],
  properties: {
    type: { const: "error" },
    error: {
      type: "object",
      required: ["type", "message"],
      properties: { type: { type: "string" }, message: { type: "string" } },
    },
    request_id: { type: "string" },
  },
};

export function openApiRoutes(app: Hono, context: ServerContext): void {
  // Made of 30 schemas in 15 to 40 ms, in which nobody else is served: once for a model.
  let document: string | undefined;
  let made: string | undefined;
  app.get("/openapi.json", (c) => {
    const limits = servedLimits(context);
    const key = JSON.stringify(limits ?? null);
    if (document === undefined || made !== key) document = JSON.stringify(openApi(limits, limits === undefined));
    made = key;
    return c.body(document, 200, { "content-type": "application/json" });
  });
}
