/** `/v1/responses`: OpenAI's Responses API, with what it stores. */
import type { Context, Hono } from "hono";
import { servedFor } from "../answers/request.js";
import { namedEvents } from "../answers/wire.js";
import { answerExchange, countedExchange } from "../exchange/answer.js";
import { readJson } from "../http/body.js";
import { HttpError, wrongField } from "../http/http-error.js";
import { bothPaths } from "../http/paths.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { compactRoute } from "./compaction.js";
import { exchangeOf, newId, type Said, saidOf } from "./read-request.js";
import { countSchema, type ResponsesInput, responsesSchema } from "./request.js";
import { echoOf } from "./response-object.js";
import { ResponseShape } from "./response-shape.js";
import { ResponseStore, type StoredResponse } from "./store.js";

export function responseRoutes(app: Hono, context: ServerContext): void {
  const store = new ResponseStore();

  app.on("POST", bothPaths("/responses"), async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(responsesSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const said = saidOf(value, store, warnings);
    const exchange = exchangeOf(value, said.exchange);
    const shape = shapeOf(value, said, context.model.id, store);
    try {
      const shaped = (...there: Parameters<ResponseShape["for"]>): ResponseShape => shape.for(...there);
      return await answerExchange({ c, context, exchange, warnings, arrived, shape: shaped });
    } catch (error) {
      // Clients shorten the conversation by themselves when a stream says so, and give up when a status does.
      const long = error instanceof HttpError && error.code === "context_length_exceeded";
      if (!long || !exchange.stream) throw error;
      return c.body(shape.failed(error), 200, { "content-type": namedEvents.contentType, ...warnings.headers() });
    }
  });

  app.on("POST", bothPaths("/responses/input_tokens"), async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(countSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const { exchange } = saidOf(value, store, warnings);
    const served = await servedFor(c, context, value.model, warnings);
    const counted = await countedExchange(served, exchange, ownerOf(c, context.config));
    warnings.apply(c);
    return c.json({ object: "response.input_tokens", input_tokens: counted });
  });

  compactRoute(app, context, store);

  const stored = (c: Context): StoredResponse => {
    const id = c.req.param("id") ?? "";
    const found = store.get(id);
    if (found !== undefined) return found;
    throw new HttpError(404, `there is no response '${id.slice(0, 100)}'`, { param: "id", code: "not_found" });
  };

  app.on("GET", bothPaths("/responses/:id"), (c) => {
    if (c.req.query("stream") === "true") throw wrongField("stream", "stream: only as a response is made");
    return c.json(stored(c).response);
  });

  app.on("DELETE", bothPaths("/responses/:id"), (c) => {
    const { id } = stored(c).response;
    store.delete(id);
    return c.json({ id, object: "response", deleted: true });
  });

  app.on("GET", bothPaths("/responses/:id/input_items"), (c) => {
    const { input } = stored(c);
    const data = c.req.query("order") === "asc" ? input : [...input].reverse();
    const after = c.req.query("after");
    const from = after === undefined ? 0 : data.findIndex(({ id }) => id === after) + 1;
    const limit = Math.min(100, Math.max(1, Number(c.req.query("limit") ?? 20) || 20));
    const page = data.slice(from, from + limit);
    return c.json({
      object: "list",
      data: page,
      first_id: page[0]?.id ?? null,
      last_id: page.at(-1)?.id ?? null,
      has_more: from + limit < data.length,
    });
  });

  app.on("POST", bothPaths("/responses/:id/cancel"), (c) => {
    stored(c);
    throw new HttpError(400, "only responses that are made in the background can be cancelled; end the connection", {
      code: "not_cancellable",
    });
  });
}

/** The shape holds nothing of the conversation but what has to be stored. */
function shapeOf(value: ResponsesInput, { names, input }: Said, model: string, store: ResponseStore): ResponseShape {
  const { store: keeps = true, previous_response_id: previous, include = [], reasoning } = value;
  const kept = keeps ? input : [];
  return new ResponseShape({
    id: newId("resp"),
    model,
    echo: echoOf(value),
    names,
    reasoning: {
      summary: (reasoning?.summary ?? "none") !== "none",
      sealed: include.includes("reasoning.encrypted_content"),
    },
    tells: { timings: value.timings_per_token ?? false, progress: value.return_progress ?? false },
    keep: (response) => keeps && store.add({ response, input: kept, previous }),
  });
}
