/** Ollama's answers to chat and generate: lines of JSON, or one object, with durations in nanoseconds. */
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChoiceJob } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import { jsonLines } from "../answers/wire.js";
import {
  callsOf,
  type Ending,
  type ExchangeShape,
  type SpokenEvent,
  textOf,
  type WholeReply,
} from "../exchange/events.js";
import type { HttpError } from "../http/http-error.js";
import { chatLogprobs, idsOf } from "../openai/logprobs.js";
import type { ServedModel } from "../service/model-service.js";
import { ollamaFailure } from "./failure.js";

/** Words, however the route wraps them. */
interface Spoken {
  readonly content: string;
  readonly thinking?: string;
  readonly calls?: readonly object[];
}

export interface OllamaShapeInput {
  /** The model as the request named it. */
  readonly model: string;
  /** `performance.now()` when the request came. */
  readonly arrived: number;
  /** Puts what is said under the names of the route. */
  readonly wrap: (spoken: Spoken) => object;
  /** The answer ends with the ids of prompt and answer. */
  readonly context: boolean;
}

export const asMessage = ({ content, thinking, calls }: Spoken): object => ({
  message: {
    role: "assistant",
    content,
    ...(thinking !== undefined && { thinking }),
    ...(calls !== undefined && { tool_calls: calls }),
  },
});

export const asResponse = ({ content, thinking }: Spoken): object => ({
  response: content,
  ...(thinking !== undefined && { thinking }),
});

export class OllamaShape implements ExchangeShape {
  readonly wire = jsonLines;
  private readonly served: ServedModel;
  private readonly input: OllamaShapeInput;
  private readonly prompt: Int32Array;
  private readonly loadMs: number;
  private readonly ids: number[] = [];
  /** The call that is being written: it is sent whole. */
  private call: { readonly index: number; readonly name: string; readonly id: string; text: string } | undefined;

  constructor(served: ServedModel, [choice]: readonly ChoiceJob[], input: OllamaShapeInput) {
    this.served = served;
    this.input = input;
    this.prompt = choice!.tokens;
    this.loadMs = performance.now() - input.arrived;
  }

  made(id: number): void {
    if (this.input.context) this.ids.push(id);
  }

  heard(
    _: number,
    events: readonly SpokenEvent[],
    token: TokenLogprobs | undefined,
  ): readonly object[] | Promise<readonly object[]> {
    const lines = events.flatMap((event) => this.spoken(event)).map((spoken) => this.line(spoken));
    if (token === undefined) return lines;
    const make = (lookup: Parameters<typeof chatLogprobs>[1]): readonly object[] => {
      const logprobs = chatLogprobs([token], lookup).content;
      // A token that says nothing yet has its probability all the same.
      const [first = this.line({ content: "" }), ...others] = lines;
      return [{ ...first, logprobs }, ...others];
    };
    const pieces = piecesOf(this.served.text).of(idsOf([token]));
    return pieces instanceof Promise ? pieces.then(make) : make(pieces);
  }

  alive(): readonly object[] {
    return [this.line({ content: "" })];
  }

  end([end]: readonly Ending[]): readonly object[] {
    return [{ ...this.head({ content: "" }), ...this.last(end!) }];
  }

  async whole([answer]: readonly WholeReply[]): Promise<object> {
    const { parts, logprobs } = answer!;
    const thinking = textOf(parts, "reasoning");
    const calls = callsOf(parts).flatMap((call, index) =>
      call.whole ? [callOf({ ...call, index, text: call.arguments })] : [],
    );
    const spoken = {
      content: textOf(parts, "content"),
      ...(thinking !== "" && { thinking }),
      ...(calls.length > 0 && { calls }),
    };
    const lookup = await piecesOf(this.served.text).of(idsOf(logprobs));
    const scored = logprobs.length === 0 ? {} : { logprobs: chatLogprobs(logprobs, lookup).content };
    return { ...this.head(spoken), ...scored, ...this.last(answer!) };
  }

  failure(error: HttpError): object {
    return ollamaFailure(error);
  }

  private spoken(event: SpokenEvent): readonly Spoken[] {
    if (event.kind === "content") return [{ content: event.text }];
    if (event.kind === "reasoning") return [{ content: "", thinking: event.text }];
    if (event.kind === "call") this.call = { index: event.index, name: event.name, id: event.id, text: "" };
    else if (event.kind === "arguments" && this.call !== undefined) this.call.text += event.text;
    else if (event.kind === "callEnd" && event.whole && this.call !== undefined) {
      return [{ content: "", calls: [callOf(this.call)] }];
    }
    return [];
  }

  private head(spoken: Spoken): object {
    return { model: this.input.model, created_at: new Date().toISOString(), ...this.input.wrap(spoken) };
  }

  private line(spoken: Spoken): object {
    return { ...this.head(spoken), done: false };
  }

  private last({ reason, promptTokens, tokens, warnings, outcome }: Ending): object {
    const { prefillMs = 0, decodeMs = 0 } = outcome.result ?? {};
    return {
      done: true,
      done_reason: reason === "length" ? "length" : "stop",
      ...(this.input.context && { context: [...this.prompt, ...this.ids] }),
      total_duration: nanoseconds(performance.now() - this.input.arrived),
      load_duration: nanoseconds(this.loadMs),
      prompt_eval_count: promptTokens,
      prompt_eval_duration: nanoseconds(prefillMs),
      eval_count: tokens,
      eval_duration: nanoseconds(decodeMs),
      ...(warnings.length > 0 && { warnings }),
    };
  }
}

export function nanoseconds(ms: number): number {
  return Math.round(ms * 1e6);
}

function callOf({ index, name, id, text }: { index: number; name: string; id: string; text: string }): object {
  return { id, function: { index, name, arguments: objectOf(text) } };
}

/** Arguments are an object; what is none is left out, as nobody could call with it. */
function objectOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}
