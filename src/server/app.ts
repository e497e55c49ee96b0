/** The routes and what every request passes first. Web-standard: `app.request()` needs no socket. */
import { Hono } from "hono";
import { collectYoung, IdleCollector } from "../process/idle.js";
import { boundOwnMemory, boundYoungGeneration, trimOwnMemory } from "../process/own-memory.js";
import { laterApis } from "./apis.js";
import { errorBody } from "./error-bodies.js";
import { allowedMethods } from "./http/allowed-methods.js";
import { asHttpError, HttpError } from "./http/http-error.js";
import { releaseBody } from "./http/intake.js";
import { addLater } from "./http/later.js";
import { rerankPaths } from "./http/paths.js";
import { requestIdOf } from "./http/request-id.js";
import { checkHost, checkKey, checkOrigin } from "./http/security.js";
import { ollamaGreeting } from "./ollama/greeting.js";
import { modelRoutes } from "./openai/models.js";
import { healthRoutes } from "./routes/health.js";
import { metricRoutes } from "./routes/metrics.js";
import type { ServerContext } from "./service/context.js";
import { mountUi } from "./ui/index.js";

/** @param data folder of what clients leave; none: there are no files and batches */
export function createApp(context: ServerContext, data?: string): Hono {
  const { config, metrics } = context;
  // A slash at the end of a route changes nothing: many clients join a base address and a path that way.
  // `c.req.path` is without it.
  const app = new Hono({ strict: false });
  const idle = new IdleCollector(trimOwnMemory);
  context.draining.addEventListener("abort", () => idle.stop(), { once: true });
  boundOwnMemory();
  context.model.onChange(({ phase }) => {
    // What loading took is garbage now, and the bound of the old generation counts from a collection.
    if (phase === "ready") idle.collect();
  });
  app.use(async (c, next) => {
    const began = performance.now();
    boundYoungGeneration();
    await next();
    // What waited is tokens now, or was refused.
    if (releaseBody(c)) collectYoung();
    if (c.req.method === "POST") idle.touch();
    const { headers } = c.res;
    // Anthropic's clients look for it under the second name.
    for (const name of ["x-request-id", "request-id"]) headers.set(name, requestIdOf(c));
    headers.set("x-content-type-options", "nosniff");
    if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
    metrics.requests.add(1, { route: routeLabel(c.req.path), status: String(c.res.status) });
    if (config.logRequests) {
      context.log(`${c.req.method} ${c.req.path} ${c.res.status} ${(performance.now() - began).toFixed(1)} ms`);
    }
  });
  app.use(checkHost(config));
  app.use(checkOrigin(config));
  app.use(checkKey(config));
  app.onError((error, c) => {
    const failure = asHttpError(error);
    if (failure.code === "internal_error") context.log(`${c.req.path}: ${failure.trace}`);
    return failure.response(errorBody(failure, c));
  });

  healthRoutes(app, context);
  metricRoutes(app, context);
  modelRoutes(app, context);
  for (const api of laterApis(app, context, data)) addLater(app, api, context.log);
  ollamaGreeting(app);
  if (config.page) mountUi(app, context);

  const methods = allowedMethods(app);
  app.notFound((c) => {
    const allow = methods(c.req.path);
    if (allow !== undefined) {
      throw new HttpError(405, `${c.req.path.slice(0, 100)} does not answer ${c.req.method}`, {
        code: "method_not_allowed",
        headers: { allow },
      });
    }
    throw new HttpError(404, `there is no ${c.req.method} ${c.req.path.slice(0, 100)}`, { code: "unknown_url" });
  });
  return app;
}

/** A fixed set, so that nobody fills the metrics with names. */
const labelled = new Set([
  "/health",
  "/ready",
  "/metrics",
  "/openapi.json",
  "/tokenize",
  "/detokenize",
  "/apply-template",
  "/completion",
  "/infill",
  "/props",
  "/slots",
  "/lora-adapters",
  "/embedding",
  ...["version", "tags", "ps", "show", "chat", "generate", "embed", "embeddings", "pull"].map((name) => `/api/${name}`),
  "/v1/chat/completions/input_tokens",
  "/v1/models",
  "/v1/chat/completions",
  "/v1/messages",
  "/v1/messages/count_tokens",
  "/v1/responses",
  "/v1/responses/input_tokens",
  "/v1/responses/compact",
  "/v1/completions",
  "/v1/embeddings",
  "/v1/files",
  "/v1/batches",
  ...rerankPaths,
]);

/** Undefined: not one of them. */
function known(path: string): string | undefined {
  return [path, `/v1${path}`].find((each) => labelled.has(each));
}

function routeLabel(path: string): string {
  return known(path) ?? "other";
}
