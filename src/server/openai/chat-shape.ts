/** Shapes an answer to a conversation, whole and in chunks: thinking, text, tool calls. */

import { customInput } from "../../chat/dialects/custom-input.js";
import { type ReplyCall, type ReplyEvent, type ReplyFormat, ReplyGatherer, ReplyReader } from "../../chat/reply.js";
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChoiceEvent, ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import type { ResponseShape } from "../answers/respond.js";
import type { ServedModel } from "../service/model-service.js";
import { Envelope, violationsOf } from "./envelope.js";
import type { CommonInput } from "./fields.js";
import { chatLogprobs, idsOf } from "./logprobs.js";

export interface ChatShapeInput extends CommonInput {
  readonly logprobs?: boolean | undefined;
}

/** The state of one choice so far. */
interface Said {
  readonly reader: ReplyReader;
  /** Everything, of an answer in one piece; a stream keeps nothing. */
  readonly gathered: ReplyGatherer;
  calls: number;
  /** The arguments of the call of a custom tool that is being written. */
  input: string | undefined;
  readonly warnings: string[];
  started: boolean;
  reasoningTokens: number;
  readonly logprobs: TokenLogprobs[];
}

const kind = { prefix: "chatcmpl", whole: "chat.completion", chunk: "chat.completion.chunk" };

export class ChatShape implements ResponseShape {
  private readonly envelope: Envelope;
  private readonly served: ServedModel;
  private readonly input: ChatShapeInput;
  private readonly custom: ReadonlySet<string>;
  private readonly said: Said[];

  /** @param custom names of tools that take a text instead of arguments */
  constructor(
    served: ServedModel,
    choices: readonly ChoiceJob[],
    input: ChatShapeInput,
    format: ReplyFormat,
    custom: ReadonlySet<string>,
  ) {
    this.envelope = new Envelope(kind, served, choices, input);
    this.served = served;
    this.input = input;
    this.custom = custom;
    this.said = choices.map(() => ({
      reader: new ReplyReader(format),
      gathered: new ReplyGatherer(),
      calls: 0,
      input: undefined,
      warnings: [],
      started: false,
      reasoningTokens: 0,
      logprobs: [],
    }));
  }

  chunks(choice: number, event: ChoiceEvent): readonly object[] | Promise<readonly object[]> {
    if (event.kind === "promptLogprobs") return [];
    const said = this.said[choice]!;
    const entry = event.kind === "token" ? event.logprobs : undefined;
    const spoken = said.reader.push(event.text);
    if (event.kind === "token" && said.reader.thinks) said.reasoningTokens++;
    this.note(said, spoken);
    if (this.input.stream !== true) {
      said.gathered.add(spoken);
      if (entry !== undefined) said.logprobs.push(entry);
      return [];
    }
    const deltas = this.deltas(said, spoken);
    if (entry === undefined) return deltas.map((delta) => this.chunk(choice, said, delta, null));
    const make = (lookup: Parameters<typeof chatLogprobs>[1]): readonly object[] => {
      const logprobs = chatLogprobs([entry], lookup);
      // A token that says nothing yet has its probability all the same.
      const first = deltas.length === 0 ? [{ content: "" }] : deltas;
      return first.map((delta, i) => this.chunk(choice, said, delta, i === 0 ? logprobs : null));
    };
    const pieces = piecesOf(this.served.text).of(idsOf([entry]));
    return pieces instanceof Promise ? pieces.then(make) : make(pieces);
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    return this.envelope.progress(progress, elapsedMs);
  }

  alive(): object {
    return this.chunk(0, this.said[0]!, { content: "" }, null);
  }

  last(outcomes: readonly ChoiceOutcome[]): readonly object[] {
    const ends = outcomes.flatMap((outcome, index) => {
      const said = this.said[index]!;
      const rest = said.reader.end();
      this.note(said, rest);
      const held = this.deltas(said, rest).map((delta) => this.chunk(index, said, delta, null));
      const delta = said.started ? {} : { role: "assistant", content: "" };
      const end = { index, delta, logprobs: null, finish_reason: this.reason(outcome, said) };
      const violations = violationsOf(outcome.result);
      return [...held, { ...this.envelope.chunk([{ ...end, ...violations }]), ...this.warnings(said) }];
    });
    return this.envelope.end(ends, outcomes, this.reasoningTokens);
  }

  async whole(outcomes: readonly ChoiceOutcome[]): Promise<object> {
    const lookup = await piecesOf(this.served.text).of(this.said.flatMap(({ logprobs }) => idsOf(logprobs)));
    const choices = outcomes.map((outcome, index) => {
      const said = this.said[index]!;
      const rest = said.reader.end();
      this.note(said, rest);
      said.gathered.add(rest);
      const { reasoning, content, calls } = said.gathered.reply;
      return {
        index,
        message: {
          role: "assistant",
          content: content === "" && calls.length > 0 ? null : content,
          ...(reasoning !== "" && { reasoning_content: reasoning }),
          ...(calls.length > 0 && { tool_calls: calls.map((call) => this.call(call)) }),
          refusal: null,
        },
        logprobs: this.input.logprobs === true ? chatLogprobs(said.logprobs, lookup) : null,
        finish_reason: this.reason(outcome, said),
        ...violationsOf(outcome.result),
      };
    });
    const warnings = Object.assign({}, ...this.said.map((said) => this.warnings(said)));
    return { ...this.envelope.whole(choices, outcomes, this.reasoningTokens), ...warnings };
  }

  private get reasoningTokens(): number {
    return this.said.reduce((sum, said) => sum + said.reasoningTokens, 0);
  }

  /** `length` also inside of a call: its arguments are cut, and nobody mends them. */
  private reason({ finishReason }: ChoiceOutcome, said: Said): string {
    return finishReason === "stop" && said.calls > 0 ? "tool_calls" : finishReason;
  }

  private warnings({ warnings }: Said): object {
    return warnings.length === 0 ? {} : { warnings };
  }

  private note(said: Said, events: readonly ReplyEvent[]): void {
    for (const event of events) {
      if (event.kind === "call") said.calls++;
      else if (event.kind === "warning") said.warnings.push(event.text);
    }
  }

  private call({ id, name, arguments: text }: ReplyCall): object {
    return this.custom.has(name)
      ? { id, type: "custom", custom: { name, input: inputOf(text) } }
      : { id, type: "function", function: { name, arguments: text } };
  }

  /** One delta an event; neighbours of a kind were joined by whoever read them. */
  private deltas(said: Said, events: readonly ReplyEvent[]): object[] {
    const deltas: object[] = [];
    const call = (index: number, more: object): void => {
      deltas.push({ tool_calls: [{ index, ...more }] });
    };
    for (const event of events) {
      if (event.kind === "reasoning") deltas.push({ reasoning_content: event.text });
      else if (event.kind === "content") deltas.push({ content: event.text });
      else if (event.kind === "call") {
        const { index, id, name } = event;
        const custom = this.custom.has(name);
        said.input = custom ? "" : undefined;
        const empty = custom ? { custom: { name, input: "" } } : { function: { name, arguments: "" } };
        call(index, { id, type: custom ? "custom" : "function", ...empty });
      } else if (event.kind === "arguments") {
        if (said.input === undefined) call(event.index, { function: { arguments: event.text } });
        else said.input += event.text;
      } else if (event.kind === "callEnd" && said.input !== undefined) {
        // The text of a custom tool is inside of JSON until it is whole.
        call(event.index, { custom: { input: inputOf(said.input) } });
      }
    }
    return deltas;
  }

  private chunk(index: number, said: Said, delta: object, logprobs: object | null): object {
    const role = said.started ? {} : { role: "assistant", ...("tool_calls" in delta && { content: null }) };
    said.started = true;
    return this.envelope.chunk([{ index, delta: { ...role, ...delta }, logprobs, finish_reason: null }]);
  }
}

/** The text that a custom tool is given. */
function inputOf(text: string): string {
  try {
    const value = (JSON.parse(text) as Readonly<Record<string, unknown>>)[customInput];
    return typeof value === "string" ? value : text;
  } catch {
    return text;
  }
}
