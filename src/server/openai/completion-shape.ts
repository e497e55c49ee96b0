/** The form of a completion, whole and in chunks: the prompt first when it is echoed, scored when that is wanted. */
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChoiceEvent, ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import type { ResponseShape } from "../answers/respond.js";
import { dataEvents } from "../answers/wire.js";
import type { HttpError } from "../http/http-error.js";
import type { ServedModel } from "../service/model-service.js";
import type { CompletionInput } from "./completion-input.js";
import { Envelope, violationsOf } from "./envelope.js";
import { addTextLogprob, idsOf, noTextLogprobs, type TextLogprobs } from "./logprobs.js";

type Lookup = Parameters<typeof addTextLogprob>[3];

/** The state of one choice so far. */
interface Said {
  text: string;
  /** Characters sent or gathered: where the next token begins. */
  offset: number;
  echoed: boolean;
  readonly logprobs: { readonly entry: TokenLogprobs; readonly offset: number }[];
  readonly prompt: TokenLogprobs[];
}

const kind = { prefix: "cmpl", whole: "text_completion", chunk: "text_completion" };

export class CompletionShape implements ResponseShape {
  readonly wire = dataEvents;
  private readonly envelope: Envelope;
  private readonly served: ServedModel;
  private readonly choices: readonly ChoiceJob[];
  private readonly input: Omit<CompletionInput, "prompt">;
  /** Texts of the prompts when they are echoed. */
  private readonly echoes: readonly string[] | undefined;
  private readonly said: Said[];
  private readonly n: number;

  constructor(
    served: ServedModel,
    choices: readonly ChoiceJob[],
    input: Omit<CompletionInput, "prompt">,
    echoes: readonly string[] | undefined,
  ) {
    this.envelope = new Envelope(kind, served, choices, input);
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

  chunks(choice: number, event: ChoiceEvent): readonly object[] | Promise<readonly object[]> {
    const said = this.said[choice]!;
    if (event.kind === "promptLogprobs") {
      said.prompt.push(...event.logprobs);
      return [];
    }
    if (event.kind === "token") this.envelope.token();
    const entry = event.kind === "token" ? event.logprobs : undefined;
    const { offset } = said;
    said.offset += event.text.length;
    said.text += event.text;
    if (this.input.stream !== true) {
      if (entry !== undefined) said.logprobs.push({ entry, offset });
      return [];
    }
    if (entry === undefined && event.text === "") return [];
    const ids = [...(entry === undefined ? [] : idsOf([entry])), ...(said.echoed ? [] : this.echoedIds(choice))];
    return this.withTexts(ids, (lookup) => {
      const logprobs = entry === undefined ? null : noTextLogprobs();
      if (logprobs !== null) addTextLogprob(logprobs, entry!.id, entry, lookup, offset);
      return this.pieces(choice, event.text, logprobs, lookup);
    });
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    return this.envelope.progress(progress, elapsedMs);
  }

  rolled(index: number, fields: object): readonly object[] {
    return [{ ...this.envelope.chunk([{ index, text: "", logprobs: null, finish_reason: null }]), ...fields }];
  }

  alive(): readonly object[] {
    return [this.envelope.chunk([{ index: 0, text: "", logprobs: null, finish_reason: null }])];
  }

  last(outcomes: readonly ChoiceOutcome[]): readonly object[] | Promise<readonly object[]> {
    const silent = outcomes.flatMap((_, i) => (this.said[i]!.echoed ? [] : this.echoedIds(i)));
    return this.withTexts(silent, (lookup) => {
      const ends = outcomes.flatMap(({ finishReason, result }, index) => {
        const end = { index, text: "", logprobs: null, finish_reason: finishReason, ...violationsOf(result) };
        return [...this.pieces(index, "", null, lookup), this.envelope.chunk([end])];
      });
      return this.envelope.end(ends, outcomes);
    });
  }

  whole(outcomes: readonly ChoiceOutcome[]): object | Promise<object> {
    const wanted = this.input.logprobs !== undefined;
    const ids = this.said.flatMap(({ logprobs }, i) => [
      ...idsOf(logprobs.map(({ entry }) => entry)),
      ...this.echoedIds(i),
    ]);
    return this.withTexts(ids, (lookup) => {
      const choices = outcomes.map(({ finishReason, result }, index) => ({
        index,
        text: this.echoOf(index) + this.said[index]!.text,
        logprobs: wanted ? this.logprobsOf(index, lookup) : null,
        finish_reason: finishReason,
        ...violationsOf(result),
      }));
      return this.envelope.whole(choices, outcomes);
    });
  }

  failure(error: HttpError): object {
    return error.body;
  }

  private withTexts<T>(ids: readonly number[], make: (lookup: Lookup) => T): T | Promise<T> {
    const found = piecesOf(this.served.text).of(ids);
    return found instanceof Promise ? found.then(make) : make(found);
  }

  private logprobsOf(index: number, lookup: Lookup): TextLogprobs {
    const out = this.echoLogprobs(index, lookup) ?? noTextLogprobs();
    for (const { entry, offset } of this.said[index]!.logprobs) addTextLogprob(out, entry.id, entry, lookup, offset);
    return out;
  }

  /** Tokens whose texts are needed to tell of the prompt. */
  private echoedIds(choice: number): readonly number[] {
    if (this.echoes === undefined || this.input.logprobs === undefined) return [];
    return [...this.choices[choice]!.tokens, ...idsOf(this.said[choice]!.prompt)];
  }

  /** Log-probabilities of the prompt's tokens; undefined when they are not echoed or not scored. */
  private echoLogprobs(choice: number, lookup: Lookup): TextLogprobs | undefined {
    if (this.echoes === undefined || this.input.logprobs === undefined) return undefined;
    const { prompt } = this.said[choice]!;
    const out = noTextLogprobs();
    let offset = 0;
    this.choices[choice]!.tokens.forEach((id, i) => {
      addTextLogprob(out, id, i === 0 ? undefined : prompt[i - 1], lookup, offset);
      // Control tokens (BOS) are no part of the text.
      if (lookup(id).bytes.length > 0) offset += lookup(id).text.length;
    });
    return out;
  }

  /**
   * Chunks for a piece of text, the first with the prompt before it; `lookup` knows the prompt's tokens if they are
   * scored.
   */
  private pieces(choice: number, text: string, logprobs: TextLogprobs | null, lookup: Lookup): readonly object[] {
    const said = this.said[choice]!;
    const chunk = (part: string, scores: TextLogprobs | null): object =>
      this.envelope.chunk([{ index: choice, text: part, logprobs: scores, finish_reason: null }]);
    const chunks = [];
    if (!said.echoed) {
      said.echoed = true;
      const echo = this.echoOf(choice);
      const scores = this.echoLogprobs(choice, lookup) ?? null;
      if (echo !== "" || scores !== null) chunks.push(chunk(echo, scores));
    }
    if (text !== "" || logprobs !== null) chunks.push(chunk(text, logprobs));
    return chunks;
  }

  private echoOf(choice: number): string {
    return this.echoes?.[Math.floor(choice / this.n)] ?? "";
  }
}
