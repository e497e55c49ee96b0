/** Shapes an answer to a conversation, whole and in chunks: thinking, text, tool calls. */
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChoiceJob, Progress } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import { generationSettings } from "../answers/told-settings.js";
import { dataEvents } from "../answers/wire.js";
import {
  callsOf,
  type Ending,
  type ExchangeShape,
  type SpokenCall,
  type SpokenEvent,
  textOf,
  type WholeReply,
} from "../exchange/events.js";
import type { HttpError } from "../http/http-error.js";
import type { ServedModel } from "../service/model-service.js";
import { Envelope, violationsOf } from "./envelope.js";
import type { CommonInput } from "./fields.js";
import { chatLogprobs, idsOf } from "./logprobs.js";

export interface ChatShapeInput extends CommonInput {
  readonly logprobs?: boolean | undefined;
  readonly verbose?: boolean | undefined;
}

/** The state of one choice so far. */
interface Said {
  started: boolean;
  /** The call that is being written is of a custom tool. */
  custom: boolean;
}

const kind = { prefix: "chatcmpl", whole: "chat.completion", chunk: "chat.completion.chunk" };

export class ChatShape implements ExchangeShape {
  readonly wire = dataEvents;
  private readonly envelope: Envelope;
  private readonly served: ServedModel;
  private readonly input: ChatShapeInput;
  private readonly choices: readonly ChoiceJob[];
  private readonly said: Said[];

  constructor(served: ServedModel, choices: readonly ChoiceJob[], input: ChatShapeInput) {
    this.envelope = new Envelope(kind, served, choices, input);
    this.served = served;
    this.input = input;
    this.choices = choices;
    this.said = choices.map(() => ({ started: false, custom: false }));
  }

  made(): void {
    this.envelope.token();
  }

  heard(
    choice: number,
    events: readonly SpokenEvent[],
    token: TokenLogprobs | undefined,
  ): readonly object[] | Promise<readonly object[]> {
    const said = this.said[choice]!;
    const deltas = events.flatMap((event) => deltaOf(said, event) ?? []);
    if (token === undefined) return deltas.flatMap((delta) => this.chunk(choice, delta, null));
    const make = (lookup: Parameters<typeof chatLogprobs>[1]): readonly object[] => {
      const logprobs = chatLogprobs([token], lookup);
      // A token that says nothing yet has its probability all the same.
      const first = deltas.length === 0 ? [{ content: "" }] : deltas;
      return first.flatMap((delta, i) => this.chunk(choice, delta, i === 0 ? logprobs : null));
    };
    const pieces = piecesOf(this.served.text).of(idsOf([token]));
    return pieces instanceof Promise ? pieces.then(make) : make(pieces);
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    return this.envelope.progress(progress, elapsedMs);
  }

  rolled(choice: number, fields: object): readonly object[] {
    return this.chunk(choice, { content: "" }, null).map((chunk) => ({ ...chunk, ...fields }));
  }

  alive(): readonly object[] {
    return this.chunk(0, { content: "" }, null);
  }

  end(ends: readonly Ending[]): readonly object[] {
    const chunks = ends.flatMap((end, index) => {
      const choice = {
        index,
        delta: {},
        logprobs: null,
        finish_reason: reasonOf(end),
        ...violationsOf(end.outcome.result),
      };
      return [...this.begin(index), { ...this.envelope.chunk([choice]), ...warningsOf([end]) }];
    });
    return this.envelope.end(chunks, outcomesOf(ends), reasoningOf(ends));
  }

  async whole(answers: readonly WholeReply[]): Promise<object> {
    const lookup = await piecesOf(this.served.text).of(answers.flatMap(({ logprobs }) => idsOf(logprobs)));
    const choices = answers.map((answer, index) => {
      const { parts } = answer;
      const [reasoning, content, calls] = [textOf(parts, "reasoning"), textOf(parts, "content"), callsOf(parts)];
      return {
        index,
        message: {
          role: "assistant",
          content: content === "" && calls.length > 0 ? null : content,
          ...(reasoning !== "" && { reasoning_content: reasoning }),
          ...(calls.length > 0 && { tool_calls: calls.map(callOf) }),
          refusal: null,
        },
        logprobs: this.input.logprobs === true ? chatLogprobs(answer.logprobs, lookup) : null,
        finish_reason: reasonOf(answer),
        ...violationsOf(answer.outcome.result),
      };
    });
    const whole = this.envelope.whole(choices, outcomesOf(answers), reasoningOf(answers));
    return { ...whole, ...warningsOf(answers), ...(await this.verbose()) };
  }

  failure(error: HttpError): object {
    return error.body;
  }

  /** Tells what was made of the request, for whoever asks for it as llama-server has it. */
  private async verbose(): Promise<object> {
    if (this.input.verbose !== true) return {};
    const { tokens, request } = this.choices[0]!;
    const { text } = this.served;
    const prompt = await text.perform({ kind: "decode", tokens, special: true, exact: true });
    const told = { stream: false, probabilities: request.logprobs ?? 0, sampled: false, timings: false };
    return { __verbose: { prompt, generation_settings: generationSettings(request, told, text.info.ends) } };
  }

  private chunk(index: number, delta: object, logprobs: object | null): readonly object[] {
    return [...this.begin(index), this.envelope.chunk([{ index, delta, logprobs, finish_reason: null }])];
  }

  /** Says whose turn it is, in a chunk of its own before all others. */
  private begin(index: number): readonly object[] {
    const said = this.said[index]!;
    if (said.started) return [];
    said.started = true;
    const delta = { role: "assistant", content: null };
    return [this.envelope.first([{ index, delta, logprobs: null, finish_reason: null }])];
  }
}

/** One delta an event; neighbours of a kind were joined by whoever read them. */
function deltaOf(said: Said, event: SpokenEvent): object | undefined {
  const call = (index: number, more: object): object => ({ tool_calls: [{ index, ...more }] });
  switch (event.kind) {
    case "reasoning":
      return { reasoning_content: event.text };
    case "content":
      return { content: event.text };
    case "call": {
      const { index, id, name, custom } = event;
      said.custom = custom;
      const empty = custom ? { custom: { name, input: "" } } : { function: { name, arguments: "" } };
      return call(index, { id, type: custom ? "custom" : "function", ...empty });
    }
    case "arguments":
      return call(
        event.index,
        said.custom ? { custom: { input: event.text } } : { function: { arguments: event.text } },
      );
    case "callEnd":
      return undefined;
  }
}

function callOf({ id, name, custom, arguments: text }: SpokenCall): object {
  return custom
    ? { id, type: "custom", custom: { name, input: text } }
    : { id, type: "function", function: { name, arguments: text } };
}

/** `length` also inside of a call: its arguments are cut, and nobody mends them. */
function reasonOf({ reason }: Ending): string {
  return reason === "calls" ? "tool_calls" : reason;
}

function outcomesOf(ends: readonly Ending[]): Ending["outcome"][] {
  return ends.map(({ outcome }) => outcome);
}

function reasoningOf(ends: readonly Ending[]): number {
  return ends.reduce((sum, { reasoningTokens }) => sum + reasoningTokens, 0);
}

function warningsOf(ends: readonly Ending[]): object {
  const warnings = ends.flatMap((end) => end.warnings);
  return warnings.length === 0 ? {} : { warnings };
}
