/** `/infill`: what stands in a gap, by models that were trained to fill one. */
import type { Hono } from "hono";
import { z } from "zod";
import { fitting } from "../answers/request.js";
import { readJson } from "../http/body.js";
import { ruled } from "../http/field-rules.js";
import { HttpError } from "../http/http-error.js";
import { validate, Warnings } from "../http/validate.js";
import { oneForm } from "../openai/constraint.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { answerLlama } from "./completion.js";
import { llamaFields } from "./input.js";

export const infillSchema = ruled(
  z.object({
    ...llamaFields,
    input_prefix: z.string().describe("What stands before the gap."),
    input_suffix: z.string().describe("What stands behind it."),
    input_extra: z
      .array(z.object({ filename: z.string().max(1000).optional(), text: z.string() }), "a list of {filename, text}")
      .max(1000)
      .optional()
      .describe("Other files, those that matter most last; as much of them as fits."),
    prompt: z.string().optional().describe("What the answer begins with; it is not repeated."),
  }),
  oneForm,
);

export function infillRoutes(app: Hono, context: ServerContext): void {
  const { infillTokens, spmInfill } = context.config;
  app.post("/infill", async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(infillSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const { input_prefix: prefix, input_suffix: suffix, input_extra: extra = [], prompt: begun, ...input } = value;
    const files = extra.map(({ filename = "tmp", text }) => ({ name: filename, text }));
    return answerLlama({
      ...{ c, context, warnings, arrived, input },
      count: 1,
      several: false,
      encode: async (served) => {
        refuseWithoutGap(served);
        const { contextTokens: most } = served.info;
        const around = Math.min(infillTokens, most);
        const answer = Math.max(0, input.n_predict ?? served.defaults.maxTokens ?? 0);
        const cut = { around, files: Math.max(0, most - around - 2 * answer) };
        const gap = { prefix, suffix, begun: begun ?? "", files, suffixFirst: spmInfill, cut };
        return [fitting(await served.text.perform({ kind: "encodeGap", gap, most }), most, "input_prefix")];
      },
    });
  });
}

/** @throws HttpError 400 for a model that cannot */
function refuseWithoutGap({ text }: ServedModel): void {
  const { prefix, suffix, middle } = text.info.fim;
  const missing = Object.entries({ prefix, suffix, middle }).flatMap(([name, id]) => (id === undefined ? [name] : []));
  if (missing.length === 0) return;
  throw new HttpError(400, `infill is not supported by this model: it has no token for ${missing.join(", ")}`, {
    code: "no_fim_tokens",
  });
}
