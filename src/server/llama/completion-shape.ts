/** llama-server's answer to `/completion` and `/infill`, whole and in chunks. */
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChoiceEvent, ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import type { ResponseShape } from "../answers/respond.js";
import { generationSettings, type ToldSettings } from "../answers/told-settings.js";
import type { Wire } from "../answers/wire.js";
import { dataEvents } from "../answers/wire.js";
import type { HttpError } from "../http/http-error.js";
import { idsOf } from "../openai/logprobs.js";
import { promptProgressOf, RunningTimings, timingsOf } from "../openai/usage.js";
import type { ServedModel } from "../service/model-service.js";

type Lookup = (id: number) => { readonly text: string; readonly bytes: readonly number[] };

export interface LlamaShapeInput extends ToldSettings {
  /** Whether ids of an answer in one piece are told; streams tell them always. */
  readonly tokens: boolean;
  readonly progress: boolean;
  /** Only these fields; undefined = all. */
  readonly fields: readonly string[] | undefined;
  readonly slot: number;
  /** Texts of the prompts, as their tokens say them. */
  readonly prompts: readonly string[];
  /** An answer in one piece is a list of them. */
  readonly several: boolean;
}

interface Said {
  text: string;
  newLine: boolean;
  count: number;
  readonly tokens: number[];
  readonly probabilities: TokenLogprobs[];
}

/** The smallest number of single precision: llama-server's logarithm of nothing. */
const nothing = -3.4028234663852886e38;

/** As Chat Completions', without the mark at the end: the last chunk says `stop`. */
const events: Wire = { ...dataEvents, end: "" };

export class LlamaShape implements ResponseShape {
  readonly wire = events;
  private readonly served: ServedModel;
  private readonly choices: readonly ChoiceJob[];
  private readonly input: LlamaShapeInput;
  private readonly said: Said[];
  private readonly running: RunningTimings;

  constructor(served: ServedModel, choices: readonly ChoiceJob[], input: LlamaShapeInput) {
    this.served = served;
    this.choices = choices;
    this.input = input;
    this.running = new RunningTimings(choices);
    this.said = choices.map(() => ({ text: "", newLine: false, count: 0, tokens: [], probabilities: [] }));
  }

  chunks(choice: number, event: ChoiceEvent): readonly object[] | Promise<readonly object[]> {
    if (event.kind === "promptLogprobs") return [];
    const said = this.said[choice]!;
    const { stream, tokens } = this.input;
    said.newLine ||= event.text.includes("\n");
    if (!stream) said.text += event.text;
    if (event.kind === "text") return stream ? [this.partial(choice, event.text, [])] : [];
    said.count++;
    this.running.token();
    if (!stream) {
      if (tokens) said.tokens.push(event.id);
      if (event.logprobs !== undefined) said.probabilities.push(event.logprobs);
      return [];
    }
    const { id, text, logprobs } = event;
    if (logprobs === undefined) return [this.partial(choice, text, [id])];
    return this.withTexts(idsOf([logprobs]), (lookup) => [
      { ...this.partial(choice, text, [id]), completion_probabilities: [this.probability(logprobs, lookup)] },
    ]);
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    const told = this.told;
    this.running.progress(progress);
    if (!this.input.progress) return undefined;
    const first = progress.done === (progress.cached ?? 0);
    const timings = first ? new RunningTimings([]).now : this.running.now;
    const more = told ? { timings } : {};
    return { ...this.partial(0, "", []), ...more, prompt_progress: promptProgressOf(progress, elapsedMs) };
  }

  rolled(choice: number, fields: object): readonly object[] {
    return [{ ...this.partial(choice, "", []), ...fields }];
  }

  last(outcomes: readonly ChoiceOutcome[]): readonly object[] {
    // What was sent already is not repeated.
    return outcomes.map((outcome, choice) => this.final(choice, outcome, "", []));
  }

  whole(outcomes: readonly ChoiceOutcome[]): object | Promise<object> {
    const ids = this.said.flatMap(({ probabilities }) => idsOf(probabilities));
    return this.withTexts(ids, (lookup) => {
      const answers = outcomes.map((outcome, choice) => {
        const { text, tokens, probabilities } = this.said[choice]!;
        const list = probabilities.map((entry) => this.probability(entry, lookup));
        const told = list.length === 0 ? {} : { completion_probabilities: list };
        return this.chosen({ ...this.final(choice, outcome, text, tokens), ...told });
      });
      return this.input.several || answers.length > 1 ? answers : answers[0]!;
    });
  }

  failure(error: HttpError): object {
    return error.body;
  }

  private get told(): boolean {
    return this.input.timings;
  }

  private partial(choice: number, content: string, tokens: readonly number[]): object {
    return {
      index: choice,
      content,
      tokens,
      stop: false,
      id_slot: this.input.slot,
      tokens_predicted: this.said[choice]!.count,
      tokens_evaluated: this.choices[choice]!.tokens.length,
      ...(this.told && { timings: this.running.now }),
    };
  }

  private final(choice: number, outcome: ChoiceOutcome, content: string, tokens: readonly number[]): object {
    const { served, input } = this;
    const { tokens: prompt, request } = this.choices[choice]!;
    const { newLine } = this.said[choice]!;
    const limit = request.maxTokens < 0 ? Number.POSITIVE_INFINITY : request.maxTokens;
    const each = this.choices.length / input.prompts.length;
    return {
      index: choice,
      content,
      tokens,
      id_slot: input.slot,
      stop: true,
      model: served.id,
      tokens_predicted: outcome.tokens,
      tokens_evaluated: prompt.length,
      generation_settings: generationSettings(request, input, served.text.info.ends),
      prompt: input.prompts[Math.floor(choice / each)],
      has_new_line: newLine,
      truncated: isTruncated(outcome, limit),
      stop_type: stopType(outcome),
      stopping_word: outcome.result?.stopText ?? "",
      tokens_cached: prompt.length + Math.max(0, outcome.tokens - 1),
      ...timingsOf([outcome]),
    };
  }

  /** The fields that were asked for. */
  private chosen(answer: object): object {
    const { fields } = this.input;
    if (fields === undefined || fields.length === 0) return answer;
    const found = fields.flatMap((field) => {
      let at: unknown = answer;
      for (const key of field.split("/")) {
        if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return [];
        at = (at as Readonly<Record<string, unknown>>)[key];
      }
      return [[field, at] as const];
    });
    return Object.fromEntries(found);
  }

  private probability({ id, logprob, top }: TokenLogprobs, lookup: Lookup): object {
    const { sampled } = this.input;
    const one = (token: number, log: number): object => {
      const { text, bytes } = lookup(token);
      const value = sampled ? { prob: Math.exp(log) } : { logprob: Number.isFinite(log) ? log : nothing };
      return { id: token, token: text, bytes, ...value };
    };
    const others = top.map((other) => one(other.id, other.logprob));
    return { ...one(id, logprob), ...(sampled ? { top_probs: others } : { top_logprobs: others }) };
  }

  private withTexts<T>(ids: readonly number[], make: (lookup: Lookup) => T): T | Promise<T> {
    const found = piecesOf(this.served.text).of(ids);
    return found instanceof Promise ? found.then(make) : make(found);
  }
}

function stopType({ finishReason, result }: ChoiceOutcome): "eos" | "word" | "limit" {
  if (finishReason === "length") return "limit";
  return result?.stopText === undefined ? "eos" : "word";
}

/** Whether the context ended before the answer, or the answer went on without some of it. */
function isTruncated({ finishReason, result, tokens }: ChoiceOutcome, limit: number): boolean {
  return result?.leftOut !== undefined || (finishReason === "length" && result !== undefined && tokens < limit);
}
