/**
 * Reads replies that are messages with headers. gpt-oss names a channel and perhaps a recipient,
 * `<|channel|>analysis<|message|>...`; Muse names the recipient, ` to=self<|message|>...`.
 * @source https://cookbook.openai.com/articles/openai-harmony
 */
import { beginningAtEnd, firstMark, type Input, type Reading } from "./input.js";
import { copyArguments } from "./json-text.js";
import type { CallReader, CallSink } from "./read-calls.js";
import type { CallForm, Dialect, ToolShape } from "./types.js";

export type HeaderStyle = "harmony" | "recipients";

const [start, channel, message] = ["<|start|>", "<|channel|>", "<|message|>"] as const;

/** Ends a header. */
export const headerMessage = message;

/** Where a message begins that the prompt leaves to the model. */
export const headerBegun = `${start}assistant`;

interface Style {
  /** Headers, behind what the prompt has, of thinking and of the text for the reader. */
  readonly thinking: string;
  readonly answer: string;
  /** Marks at which a message ends. */
  readonly ends: readonly string[];
}

export const headerStyles: Readonly<Record<HeaderStyle, Style>> = {
  harmony: {
    thinking: `${channel}analysis${message}`,
    answer: `${channel}final${message}`,
    ends: ["<|end|>", "<|call|>", "<|return|>"],
  },
  recipients: { thinking: ` to=self${message}`, answer: ` to=user${message}`, ends: ["<|eom|>", "<|eot|>"] },
};

/** Everything that tokens may stand for. */
export function headerMarks(style: HeaderStyle): readonly string[] {
  return [start, channel, message, "<|constrain|>", ...headerStyles[style].ends];
}

/** A header has a role, a channel, a recipient and a kind of content. */
const mostHeaderLength = 512;

const unfinishedHeader = /^\s*(<\|start\|>(assistant)?)?( to=\S*)?(<\|channel\|>[^<]*(<\|constrain\|>)?[^<]*)?$/;

interface HeadedFormat {
  readonly dialect: Dialect;
  readonly tools: readonly ToolShape[];
}

interface Out extends CallSink {
  /** Thinking is being read. */
  thinking: boolean;
  say(kind: "reasoning" | "content", text: string): void;
  warn(text: string): void;
}

export class HeadedReader {
  private readonly input: Input;
  private readonly style: HeaderStyle;
  private readonly calls: CallReader;
  /** How a call is written inside of a message. */
  private readonly form: CallForm | undefined;
  private readonly ends: readonly string[];
  private readonly tools: ReadonlyMap<string, ToolShape>;
  private readonly out: Out;
  private readonly said = { reasoning: false, content: false };

  constructor(input: Input, { dialect, tools }: HeadedFormat, calls: CallReader, out: Out) {
    this.input = input;
    this.style = dialect.messages!;
    this.calls = calls;
    this.form = dialect.forms[1];
    this.ends = headerStyles[this.style].ends;
    this.tools = new Map(tools.map((tool) => [tool.name, tool]));
    this.out = out;
  }

  *read(): Reading<void> {
    const { input } = this;
    while ((yield* input.peek()) !== "") {
      const header = yield* this.header();
      if (header === undefined) yield* this.say("content");
      else yield* this.body(header);
      for (const mark of this.ends) if (input.text.startsWith(mark, input.at)) input.at += mark.length;
    }
  }

  /** @returns undefined, and nothing taken, where a text without a header stands */
  private *header(): Reading<string | undefined> {
    const { input } = this;
    for (;;) {
      const rest = input.text.slice(input.at);
      const end = firstMark(rest, [message, ...this.ends]);
      const possible = /^\s*(<\|start\|>|<\|channel\|>|assistant\b| to=)/.test(rest) || isBeginning(rest.trimStart());
      if (!possible || (end === undefined && rest.length > mostHeaderLength)) return this.noHeader();
      if (end?.mark === message) {
        input.at += end.at + end.mark.length;
        return rest.slice(0, end.at);
      }
      if (end !== undefined) {
        // A message without a body.
        input.at += end.at;
        return "";
      }
      if (input.ended) {
        if (!unfinishedHeader.test(rest)) return this.noHeader();
        input.at += rest.length;
        return "";
      }
      yield;
    }
  }

  /** Where the prompt began a header and the model did not go on with it, that beginning is no text. */
  private noHeader(): undefined {
    const { input } = this;
    const begun = /^\s*<\|start\|>(assistant)?/.exec(input.text.slice(input.at));
    input.at += begun?.[0].length ?? 0;
  }

  private *body(header: string): Reading<void> {
    const named = /<\|channel\|>\s*(\w+)/.exec(header)?.[1];
    const recipient = / to=([^\s<]+)/.exec(` ${header}`)?.[1];
    const tool = recipient?.replace(/^functions\./, "");
    if (tool !== undefined && this.tools.has(tool) && (yield* this.call(tool))) return;
    if (recipient !== undefined && recipient !== "user" && recipient !== "self" && this.tools.size > 0) {
      this.out.warn(`a call of ${recipient.slice(0, 80)}, which is no tool of the request; its text is in the content`);
    }
    const thinking = this.style === "harmony" ? named === "analysis" && recipient === undefined : recipient === "self";
    this.out.thinking = thinking;
    yield* this.say(thinking ? "reasoning" : "content");
    this.out.thinking = false;
  }

  private *call(tool: string): Reading<boolean> {
    const { input, out, form } = this;
    if (form !== undefined) {
      if ((yield* this.calls.read(form)) === "none") {
        input.back();
        return false;
      }
      yield* this.toEnd();
      return true;
    }
    out.begin(tool, undefined);
    const end = yield* copyArguments(input, (text) => out.write(text));
    if (end === "none") out.write("{}");
    out.end(end !== "cut");
    yield* this.toEnd();
    return true;
  }

  /** Passes over whatever stands between a call and the mark that ends its message. */
  private *toEnd(): Reading<void> {
    const { input } = this;
    const bodyEnds = this.bodyEnds;
    for (;;) {
      const mark = firstMark(input.text, bodyEnds, input.at);
      if (mark !== undefined) {
        input.at = mark.at;
        return;
      }
      input.at = input.text.length - (input.ended ? 0 : beginningAtEnd(input.text, bodyEnds, input.at));
      if (input.ended) return;
      yield;
    }
  }

  private get bodyEnds(): readonly string[] {
    return [...this.ends, start];
  }

  private *say(kind: "reasoning" | "content"): Reading<void> {
    const { input, out, bodyEnds } = this;
    let begun = false;
    const say = (text: string): void => {
      if (text === "") return;
      if (!begun && this.said[kind]) out.say(kind, "\n\n");
      begun = true;
      this.said[kind] = true;
      out.say(kind, text);
    };
    for (;;) {
      const mark = firstMark(input.text, bodyEnds, input.at);
      if (mark !== undefined) {
        say(input.take(mark.at - input.at));
        return;
      }
      const rest = input.text.length - input.at;
      say(input.take(rest - (input.ended ? 0 : beginningAtEnd(input.text, bodyEnds, input.at))));
      if (input.ended) return;
      yield;
    }
  }
}

/** Whether more text can make a header of it. */
function isBeginning(text: string): boolean {
  return [start, channel, "assistant", "to="].some((mark) => mark.startsWith(text));
}
