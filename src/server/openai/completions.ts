/** `/v1/completions`: continues texts or token ids, echoes and scores them. */
import type { Hono } from "hono";
import { z } from "zod";
import type { TokenLogprobs } from "../../engine/protocol.js";
import type { AnswerEvent, ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import { type AnswerShape, respond } from "../answers/respond.js";
import { readJson } from "../body.js";
import type { ServerContext } from "../context.js";
import { wrongField } from "../http-error.js";
import type { ServedModel } from "../model-service.js";
import { validate, Warnings } from "../validate.js";
import { checkChoices, choicesOf } from "./choices.js";
import { answerFields, refuseUnsupported } from "./fields.js";
import { checkLength, type Identity, identityOf, warnOfModel } from "./identity.js";
import { addTextLogprob, idsOf, noTextLogprobs, type TextLogprobs } from "./logprobs.js";
import { promptProgressOf, timingsOf, usageOf } from "./usage.js";

const ids = z
  .array(
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
  )
  .min(1);

export const promptSchema = z.union(
  [z.string(), ids, z.array(z.string()).min(1), z.array(ids).min(1)],
  "a text, a list of token ids, or a list of either",
);

export const completionSchema = z.object({
  ...answerFields,
  prompt: promptSchema,
  logprobs: z.int().min(0).max(20).optional(),
  echo: z.boolean().optional().describe("The prompt comes first in the text, and in the log-probabilities."),
  best_of: z.int().min(1).optional(),
  suffix: z.string().optional().describe("Refused."),
  parse_special: z.boolean().optional().describe("Control tokens written in a prompt count as such. Default true."),
  add_special: z.boolean().optional().describe("Add BOS and EOS as the model wants. Default true."),
});

type CompletionInput = z.output<typeof completionSchema>;

/** OpenAI's default: a completion is not an answer that ends by itself. */
const defaultMaxTokens = 16;

export function completionRoutes(app: Hono, context: ServerContext): void {
  app.post("/v1/completions", async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(completionSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    refuseUnsupported(value);
    const n = value.n ?? 1;
    if ((value.suffix ?? "") !== "") throw wrongField("suffix", "suffix: not supported by this server");
    if ((value.best_of ?? n) !== n) throw wrongField("best_of", "best_of: only the value of n is supported");
    const prompts = promptsOf(value.prompt);
    const served = context.model.require();
    warnOfModel(value.model, served, warnings);
    checkChoices(prompts.length * n, context);
    const release = context.gate.enter(prompts.length * n);
    try {
      const tokens = await encodePrompts(prompts, served, value);
      const choices = choicesOf(c, value, served, tokens, {
        maxTokens: value.max_tokens ?? defaultMaxTokens,
        logprobs: value.logprobs,
        promptLogprobs: value.echo === true ? value.logprobs : undefined,
      });
      const echoed = value.echo ? await textsOf(prompts, served) : undefined;
      const shape = new CompletionShape(served, choices, value, echoed);
      const { stream = false, max_time_ms: maxTimeMs } = value;
      return await respond({ c, context, served, choices, shape, stream, maxTimeMs, warnings, arrived, release });
    } catch (error) {
      release();
      throw error;
    }
  });
}

type OnePrompt = string | readonly number[];

export function promptsOf(prompt: z.output<typeof promptSchema>): readonly OnePrompt[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as OnePrompt[]);
}

/** @throws HttpError 400 for an empty prompt or one that is too long; OPTION_INVALID for ids out of range */
export async function encodePrompts(
  prompts: readonly OnePrompt[],
  served: ServedModel,
  options: { parse_special?: boolean | undefined; add_special?: boolean | undefined },
  param = "prompt",
): Promise<Int32Array[]> {
  const { info, text } = served;
  const encoded: Int32Array[] = [];
  for (const prompt of prompts) {
    let tokens: Int32Array;
    if (typeof prompt === "string") {
      const parseSpecial = options.parse_special ?? true;
      tokens = await text.perform({
        kind: "encode",
        text: prompt,
        addSpecial: options.add_special ?? true,
        parseSpecial,
      });
    } else {
      const wrong = prompt.find((id) => id >= info.vocab);
      if (wrong !== undefined)
        throw wrongField(param, `${param}: token ${wrong} is not in the vocabulary of ${info.vocab}`);
      tokens = Int32Array.from(prompt);
    }
    // A model needs one token to continue; what begins a text is what an empty one has.
    if (tokens.length === 0) {
      const start = text.info.bos ?? text.info.eos;
      if (start === undefined)
        throw wrongField(param, `${param}: an empty text, and the model has no token to begin with`);
      tokens = Int32Array.of(start);
    }
    checkLength(tokens.length, info.contextTokens, param);
    encoded.push(tokens);
  }
  return encoded;
}

function textsOf(prompts: readonly OnePrompt[], served: ServedModel): Promise<string[]> {
  return Promise.all(
    prompts.map((prompt) =>
      typeof prompt === "string"
        ? prompt
        : served.text.perform({ kind: "decode", tokens: Int32Array.from(prompt), special: true }),
    ),
  );
}

/** What became of one choice so far. */
interface Said {
  text: string;
  /** Characters sent or gathered: where the next token begins. */
  offset: number;
  echoed: boolean;
  readonly logprobs: { readonly entry: TokenLogprobs; readonly offset: number }[];
  readonly prompt: TokenLogprobs[];
}

class CompletionShape implements AnswerShape {
  private readonly identity: Identity;
  private readonly served: ServedModel;
  private readonly choices: readonly ChoiceJob[];
  private readonly input: CompletionInput;
  /** Texts of the prompts when they are echoed. */
  private readonly echoes: readonly string[] | undefined;
  private readonly said: Said[];
  private readonly n: number;

  constructor(
    served: ServedModel,
    choices: readonly ChoiceJob[],
    input: CompletionInput,
    echoes: readonly string[] | undefined,
  ) {
    this.identity = identityOf("cmpl", served);
    this.served = served;
    this.choices = choices;
    this.input = input;
    this.echoes = echoes;
    this.n = input.n ?? 1;
    this.said = choices.map((_, i) => ({
      text: "",
      offset: this.echoOf(i).length,
      echoed: false,
      logprobs: [],
      prompt: [],
    }));
  }

  chunks(choice: number, event: AnswerEvent): readonly object[] | Promise<readonly object[]> {
    const said = this.said[choice]!;
    if (event.kind === "promptLogprobs") {
      said.prompt.push(...event.logprobs);
      return [];
    }
    const entry = event.kind === "token" ? event.logprobs : undefined;
    const { offset } = said;
    said.offset += event.text.length;
    said.text += event.text;
    if (this.input.stream !== true) {
      if (entry !== undefined) said.logprobs.push({ entry, offset });
      return [];
    }
    if (entry === undefined) return event.text === "" ? [] : this.pieces(choice, event.text, null);
    const logprobs = noTextLogprobs();
    const make = (lookup: Parameters<typeof addTextLogprob>[3]): readonly object[] => {
      addTextLogprob(logprobs, entry.id, entry, lookup, offset);
      return this.pieces(choice, event.text, logprobs);
    };
    const found = piecesOf(this.served.text).of(idsOf([entry]));
    return found instanceof Promise ? found.then(make) : make(found);
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    if (this.input.return_progress !== true || progress.generated > 0) return undefined;
    return { ...this.chunk([]), prompt_progress: promptProgressOf(progress, elapsedMs) };
  }

  last(outcomes: readonly ChoiceOutcome[]): readonly object[] {
    const ends = outcomes.flatMap(({ finishReason }, index) => [
      ...(this.said[index]!.echoed ? [] : this.pieces(index, "", null)),
      this.chunk([{ index, text: "", logprobs: null, finish_reason: finishReason }]),
    ]);
    const timings = timingsOf(outcomes);
    if (this.input.stream_options?.include_usage !== true) {
      return ends.map((chunk, i) => (i === ends.length - 1 ? { ...chunk, ...timings } : chunk));
    }
    return [...ends, { ...this.chunk([]), usage: usageOf(this.choices, outcomes, this.n), ...timings }];
  }

  async whole(outcomes: readonly ChoiceOutcome[]): Promise<object> {
    const wanted = this.input.logprobs !== undefined;
    const all = this.said.flatMap((said, i) => [
      ...idsOf([...said.prompt, ...said.logprobs.map(({ entry }) => entry)]),
      ...(wanted && this.echoes !== undefined ? this.choices[i]!.tokens : []),
    ]);
    const lookup = await piecesOf(this.served.text).of(all);
    return {
      ...this.identity,
      object: "text_completion",
      choices: outcomes.map(({ finishReason }, index) => ({
        index,
        text: this.echoOf(index) + this.said[index]!.text,
        logprobs: wanted ? this.logprobsOf(index, lookup) : null,
        finish_reason: finishReason,
      })),
      usage: usageOf(this.choices, outcomes, this.n),
      ...timingsOf(outcomes),
    };
  }

  private logprobsOf(index: number, lookup: Parameters<typeof addTextLogprob>[3]): TextLogprobs {
    const { logprobs, prompt } = this.said[index]!;
    const out = noTextLogprobs();
    if (this.echoes !== undefined) {
      let offset = 0;
      this.choices[index]!.tokens.forEach((id, i) => {
        addTextLogprob(out, id, i === 0 ? undefined : prompt[i - 1], lookup, offset);
        // Control tokens (BOS) are no part of the text.
        if (lookup(id).bytes.length > 0) offset += lookup(id).text.length;
      });
    }
    for (const { entry, offset } of logprobs) addTextLogprob(out, entry.id, entry, lookup, offset);
    return out;
  }

  /** Chunks for a piece of text, the first with the echo before it. */
  private pieces(choice: number, text: string, logprobs: object | null): readonly object[] {
    const said = this.said[choice]!;
    const echo = said.echoed ? "" : this.echoOf(choice);
    said.echoed = true;
    const chunks = [];
    if (echo !== "") chunks.push(this.chunk([{ index: choice, text: echo, logprobs: null, finish_reason: null }]));
    if (text !== "" || logprobs !== null) {
      chunks.push(this.chunk([{ index: choice, text, logprobs, finish_reason: null }]));
    }
    return chunks;
  }

  private echoOf(choice: number): string {
    return this.echoes?.[Math.floor(choice / this.n)] ?? "";
  }

  private chunk(choices: readonly object[]): object {
    const usage = this.input.stream_options?.include_usage === true ? { usage: null } : {};
    return { ...this.identity, object: "text_completion", choices, ...usage };
  }
}
