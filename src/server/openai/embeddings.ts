/** `/v1/embeddings`: one vector of length 1 for each text. */
import type { Context, Hono } from "hono";
import { z } from "zod";
import type { RunningJob } from "../../link/client.js";
import { Outlet } from "../answers/outlet.js";
import { outgoingOf } from "../answers/parts.js";
import { readJson } from "../http/body.js";
import { asHttpError, wrongField } from "../http/http-error.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { promptSchema } from "./completion-input.js";
import { encodePrompts, promptsOf } from "./completions.js";
import { bothPaths } from "./fields.js";
import { warnOfModel } from "./identity.js";

export const embeddingSchema = z.object({
  model: z.string().max(500).optional(),
  input: promptSchema,
  encoding_format: z.enum(["float", "base64"]).optional(),
  dimensions: z.int().min(1).optional().describe("Only the model's own number."),
  pooling: z.enum(["mean", "last"]).optional().describe("How the tokens become one vector. Default mean."),
  user: z.string().max(500).optional(),
});

/** Inputs of one request, as OpenAI has it. */
const mostInputs = 2048;
/** Jobs given to the engine at once. */
const atOnce = 8;

export function embeddingRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", bothPaths("/embeddings"), async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(embeddingSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const inputs = promptsOf(value.input);
    if (inputs.length > mostInputs) throw wrongField("input", `input: more than ${mostInputs} texts`);
    const served = context.model.require();
    warnOfModel(value.model, served, warnings);
    const { dim } = served.info;
    if ((value.dimensions ?? dim) !== dim) {
      throw wrongField("dimensions", `dimensions: vectors of this model have ${dim} numbers, others cannot be had`);
    }
    const release = context.gate.enter(1);
    try {
      const tokens = await encodePrompts(inputs, served, { parse_special: false }, "input");
      const work = new Embedding(served, tokens, value.pooling ?? "mean", value.encoding_format ?? "float");
      return work.respond(context, warnings, c, release);
    } catch (error) {
      release();
      throw error;
    }
  });
}

class Embedding {
  private readonly served: ServedModel;
  private readonly tokens: readonly Int32Array[];
  private readonly pooling: "mean" | "last";
  private readonly format: "float" | "base64";
  private readonly running = new Set<RunningJob>();
  private ended = false;

  constructor(
    served: ServedModel,
    tokens: readonly Int32Array[],
    pooling: "mean" | "last",
    format: "float" | "base64",
  ) {
    this.served = served;
    this.tokens = tokens;
    this.pooling = pooling;
    this.format = format;
  }

  respond(
    { config, ending, metrics, untaken }: ServerContext,
    warnings: Warnings,
    c: Context,
    release: () => void,
  ): Response {
    const { signal } = c.req.raw;
    const outlet = new Outlet(
      { onFull: () => {}, onDrained: () => {}, onGone: () => this.cancel() },
      config.stallTimeoutMs,
      untaken,
      outgoingOf(c),
    );
    const gone = (): void => outlet.gone();
    const cancel = (): void => this.cancel();
    signal.addEventListener("abort", gone, { once: true });
    ending.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) gone();
    if (ending.aborted) cancel();
    const timer = setInterval(() => outlet.write("\n"), config.keepAliveMs);
    void this.vectors()
      .then((data) => {
        const count = this.tokens.reduce((sum, ids) => sum + ids.length, 0);
        metrics.promptTokens.add(count);
        const usage = { prompt_tokens: count, total_tokens: count };
        return { object: "list", data, model: this.served.id, usage };
      })
      .catch((error) => {
        const failure = asHttpError(error);
        if (outlet.open) metrics.failures.add(1, { code: failure.code ?? "other" });
        return failure.body;
      })
      .then((body) => {
        clearInterval(timer);
        signal.removeEventListener("abort", gone);
        ending.removeEventListener("abort", cancel);
        outlet.end(JSON.stringify(body));
        release();
      });
    return new Response(outlet.body, { headers: { "content-type": "application/json", ...warnings.headers() } });
  }

  private cancel(): void {
    this.ended = true;
    for (const job of this.running) job.cancel();
  }

  private async vectors(): Promise<object[]> {
    const data: object[] = new Array(this.tokens.length);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < this.tokens.length; index = next++) {
        const job = this.served.engine.submit({
          kind: "embed",
          prompt: { kind: "tokens", tokens: this.tokens[index]! },
          pooling: this.pooling,
        });
        this.running.add(job);
        if (this.ended) job.cancel();
        try {
          data[index] = { object: "embedding", index, embedding: this.written((await job.result).embedding) };
        } finally {
          this.running.delete(job);
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(atOnce, this.tokens.length) }, worker));
    } catch (error) {
      this.cancel();
      throw error;
    }
    return data;
  }

  private written(vector: Float32Array): number[] | string {
    if (this.format === "float") return [...vector];
    return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
  }
}
