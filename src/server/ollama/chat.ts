/** `/api/chat` and `/api/generate`: Ollama's way to ask. */
import type { Context, Hono } from "hono";
import { encodeSuffix } from "../answers/gap.js";
import { fitting, warnOfModel } from "../answers/request.js";
import { answerExchange, encodedExchange } from "../exchange/answer.js";
import type { Exchange } from "../exchange/exchange.js";
import { plainPrompt } from "../exchange/plain.js";
import type { AskedTools } from "../exchange/tools.js";
import { readJson } from "../http/body.js";
import { wrongField } from "../http/http-error.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { changeTo } from "../service/named-model.js";
import { renderGoTemplate } from "./go-template.js";
import { messagesOf, toolsOf, wishesOf } from "./read-messages.js";
import { chatSchema, type GenerateInput, generateSchema, mostTokens, samplingInput, stopTexts } from "./request.js";
import { asMessage, asResponse, nanoseconds, OllamaShape } from "./shape.js";

export function ollamaChatRoutes(app: Hono, context: ServerContext): void {
  app.post("/api/chat", async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(chatSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    await changeTo(value.model, context);
    const { messages = [], options } = value;
    const model = value.model ?? context.model.id;
    if (messages.length === 0) return loaded(c, context, model, value.keep_alive, arrived, { ...asMessage(nothing) });
    const exchange: Exchange = {
      ...wishesOf(value),
      model: value.model,
      messages: messagesOf(messages),
      tools: toolsOf(value.tools),
      sampling: samplingInput(options),
      stop: stopTexts(options),
      maxTokens: mostTokens(options, context.config.answers.maxTokens),
    };
    const input = { model, arrived, wrap: asMessage, context: false };
    const shape = (served: ServedModel, choices: ConstructorParameters<typeof OllamaShape>[1]) =>
      new OllamaShape(served, choices, input);
    return answerExchange({ c, context, exchange, warnings, arrived, shape });
  });

  app.post("/api/generate", async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(generateSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    await changeTo(value.model, context);
    const { options, prompt = "", system } = value;
    const model = value.model ?? context.model.id;
    checkIds(value, context.model.require());
    if (prompt === "" && (value.suffix ?? "") === "") {
      return loaded(c, context, model, value.keep_alive, arrived, asResponse(nothing));
    }
    const exchange: Exchange = {
      ...wishesOf(value),
      model: value.model,
      messages: [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: prompt }],
      tools: [],
      sampling: samplingInput(options),
      stop: stopTexts(options),
      maxTokens: mostTokens(options, context.config.answers.maxTokens),
    };
    const input = { model, arrived, wrap: asResponse, context: value.raw !== true };
    const shape = (served: ServedModel, choices: ConstructorParameters<typeof OllamaShape>[1]) =>
      new OllamaShape(served, choices, input);
    const encode = (served: ServedModel, asked: AskedTools) =>
      encodeGenerate(value, exchange, served, asked, ownerOf(c, context.config));
    return answerExchange({ c, context, exchange, warnings, arrived, shape, encode });
  });
}

const nothing = { content: "" };

/** @throws HttpError 400 */
function checkIds({ context = [] }: GenerateInput, { info: { vocab, contextTokens: most } }: ServedModel): void {
  const wrong = context.find((id) => id >= vocab);
  if (wrong !== undefined) throw wrongField("context", `context: token ${wrong} is not in the vocabulary of ${vocab}`);
  fitting(Int32Array.from(context), most, "context");
}

/** A gap, a text as it is, one in a template of the request's, or a turn of a conversation. */
async function encodeGenerate(
  value: GenerateInput,
  exchange: Exchange,
  served: ServedModel,
  asked: AskedTools,
  scope: string,
) {
  const { prompt = "", suffix = "", system = "", raw, template, context = [] } = value;
  const { contextTokens: most } = served.info;
  const behind = (tokens: Int32Array): Int32Array => {
    if (context.length === 0) return tokens;
    // The earlier part begins the text already.
    const own = tokens[0] === served.text.info.bos ? tokens.subarray(1) : tokens;
    return fitting(Int32Array.from([...context, ...own]), most, "context");
  };
  const encode = async (text: string): Promise<Int32Array> => {
    const request = { kind: "encodePrompt", text, addSpecial: true, parseSpecial: true, most } as const;
    return behind(fitting(await served.text.perform(request), most, "prompt"));
  };
  if (raw === true) return plainPrompt(await encode(prompt));
  if (template) {
    const fields = { System: system, Prompt: prompt, Suffix: suffix, Response: "" };
    return plainPrompt(await encode(renderGoTemplate(template, fields)));
  }
  if (suffix !== "") return plainPrompt(behind(await encodeSuffix(prompt, suffix, served)));
  const encoded = await encodedExchange(served, exchange, asked, scope);
  if (context.length === 0) return encoded;
  // What comes before is no text of this conversation.
  const { turn: _, ...others } = encoded;
  return { ...others, tokens: behind(encoded.tokens) };
}

/** Nothing to answer: clients ask whether the model is there, or that it goes. */
function loaded(
  c: Context,
  { model: service }: ServerContext,
  model: string,
  keepAlive: string | number | undefined,
  arrived: number,
  said: object,
): Response {
  const served = service.require();
  const warnings = new Warnings();
  warnOfModel(model, served, warnings);
  const unload = keepAlive !== undefined && /^-?0*(\.0+)?[a-z]*$/.test(String(keepAlive));
  if (unload) warnings.add("the one model of this server stays in memory");
  warnings.apply(c);
  return c.json({
    model,
    created_at: new Date().toISOString(),
    ...said,
    done: true,
    done_reason: unload ? "unload" : "load",
    total_duration: nanoseconds(performance.now() - arrived),
    load_duration: 0,
  });
}
