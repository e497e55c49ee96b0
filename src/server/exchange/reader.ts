/** Reads one answer as it comes: the reply's parts, calls of custom tools as texts, and what has to be counted. */
import { type ReplyEvent, type ReplyFormat, ReplyReader } from "../../chat/reply.js";
import type { TokenLogprobs } from "../../link/protocol.js";
import type { ChoiceEvent, ChoiceJob, ChoiceOutcome } from "../answers/answer-set.js";
import { type Ending, type SpokenEvent, SpokenParts, type WholeReply } from "./events.js";
import { inputOf } from "./tools.js";

export class SpokenReader {
  private readonly reader: ReplyReader;
  private readonly custom: ReadonlySet<string>;
  private readonly hear: ((id: number | undefined, read: readonly ReplyEvent[]) => void) | undefined;
  /** Everything, of an answer in one piece; a stream keeps nothing. */
  private readonly kept: { readonly parts: SpokenParts; readonly logprobs: TokenLogprobs[] } | undefined;
  private readonly warnings: string[] = [];
  private calls = 0;
  private reasoningTokens = 0;
  /** Tokens that nothing was said by yet: what they say may become a text or the mark of a call. */
  private unsaid: TokenLogprobs[] = [];
  /** The arguments of the call of a custom tool that is being written: its text is inside of JSON until it is whole. */
  private input: string | undefined;

  /**
   * @param custom names of tools that take a text instead of arguments
   * @param keep for an answer in one piece
   * @param hear is told what the reply is read as, with the token that said it
   */
  constructor(format: ReplyFormat, custom: ReadonlySet<string>, keep: boolean, hear?: SpokenReader["hear"]) {
    this.reader = new ReplyReader(format);
    this.custom = custom;
    this.hear = hear;
    this.kept = keep ? { parts: new SpokenParts(), logprobs: [] } : undefined;
  }

  push(event: Exclude<ChoiceEvent, { kind: "promptLogprobs" }>): readonly SpokenEvent[] {
    if (event.kind === "token" && event.logprobs !== undefined) {
      if (!this.reader.thinks) this.unsaid.push(event.logprobs);
      this.kept?.logprobs.push(event.logprobs);
    }
    const events = this.read(this.reader.push(event.text), event.kind === "token" ? event.id : undefined);
    if (event.kind === "token" && this.reader.thinks) this.reasoningTokens++;
    return events;
  }

  /** The answer is over: what was held back comes now. */
  end(): readonly SpokenEvent[] {
    return this.read(this.reader.end(), undefined);
  }

  ended({ tokens: prompt }: ChoiceJob, outcome: ChoiceOutcome): WholeReply {
    const { finishReason, tokens, result } = outcome;
    const end: Ending = {
      reason: finishReason === "stop" && this.calls > 0 ? "calls" : finishReason,
      stopText: result?.stopText,
      promptTokens: prompt.length,
      cachedTokens: result?.reusedTokens ?? 0,
      tokens,
      reasoningTokens: this.reasoningTokens,
      warnings: this.warnings,
      outcome,
    };
    return { ...end, parts: this.kept?.parts.list ?? [], logprobs: this.kept?.logprobs ?? [] };
  }

  private read(read: readonly ReplyEvent[], id: number | undefined): readonly SpokenEvent[] {
    this.hear?.(id, read);
    const events: SpokenEvent[] = [];
    for (const event of read) {
      if (event.kind === "warning") this.warnings.push(event.text);
      else if (event.kind === "content" && this.unsaid.length > 0) {
        events.push({ ...event, tokens: this.unsaid });
        this.unsaid = [];
      } else if (event.kind === "call") {
        this.calls++;
        const custom = this.custom.has(event.name);
        this.input = custom ? "" : undefined;
        events.push({ ...event, custom });
      } else if (event.kind === "arguments" && this.input !== undefined) this.input += event.text;
      else {
        if (event.kind === "callEnd" && this.input !== undefined) {
          events.push({ kind: "arguments", index: event.index, text: inputOf(this.input) });
        }
        events.push(event);
      }
    }
    // Thinking, calls and marks.
    if (events.length > 0) this.unsaid = [];
    this.kept?.parts.add(events);
    return events;
  }
}
