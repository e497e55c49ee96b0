/**
 * Reads what a model answers, piece by piece: which part is thinking, which is for the reader, which are tool calls.
 * The events, joined, are the same however the text was cut.
 */
import { randomBytes } from "node:crypto";
import { validateSchema } from "../sampling/constraint/json/validate.js";
import { HeadedReader } from "./dialects/headed.js";
import { beginningAtEnd, firstMark, Input, isSpace, type Reading } from "./dialects/input.js";
import { isJson } from "./dialects/json-text.js";
import { beginsBare, CallReader, type CallSink, openerOf } from "./dialects/read-calls.js";
import { type CallForm, type Dialect, type ToolShape, thinkingOf } from "./dialects/types.js";

/** Tells a reader what it has to know of the prompt. Plain data: it travels between processes. */
export interface ReplyFormat {
  readonly dialect: Dialect;
  /** Tools that may be called; without any, what looks like a call is text. */
  readonly tools: readonly ToolShape[];
  /** The prompt ends inside of thinking. */
  readonly thinks: boolean;
  /** End of the prompt that is a part of the reply already: the beginning of a message or of a call. */
  readonly begun: string;
  /** Only the first call counts. */
  readonly single: boolean;
}

export type ReplyEvent =
  | { readonly kind: "reasoning"; readonly text: string }
  | { readonly kind: "content"; readonly text: string }
  /** A call begins. `id` is what the model gave it, or a new one. */
  | { readonly kind: "call"; readonly index: number; readonly name: string; readonly id: string }
  /** A part of the arguments of call `index`: JSON text. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string }
  /** `whole`: false when the reply ended inside the arguments. */
  | { readonly kind: "callEnd"; readonly index: number; readonly whole: boolean }
  | { readonly kind: "warning"; readonly text: string };

/** Everything of a reply. */
export interface Reply {
  readonly reasoning: string;
  readonly content: string;
  readonly calls: readonly ReplyCall[];
  readonly warnings: readonly string[];
}

export interface ReplyCall {
  readonly name: string;
  readonly id: string;
  /** JSON text; not whole when the reply ended inside. */
  readonly arguments: string;
  readonly whole: boolean;
}

export class ReplyReader {
  private readonly input = new Input();
  private readonly reading: Reading<void>;
  private events: ReplyEvent[] = [];
  private readonly out: ReplySink;

  constructor(format: ReplyFormat) {
    this.out = new ReplySink(format, (event) => this.events.push(event));
    const calls = new CallReader(this.input, format.tools, this.out);
    this.reading =
      format.dialect.messages !== undefined
        ? new HeadedReader(this.input, format, calls, this.out).read()
        : new PlainReader(this.input, format, calls, this.out).read();
    this.input.push(format.begun);
  }

  /** @returns what the text adds */
  push(text: string): readonly ReplyEvent[] {
    if (text === "") return [];
    this.input.push(text);
    return this.go();
  }

  /** The reply is over: what was held back comes now. */
  end(): readonly ReplyEvent[] {
    this.input.ended = true;
    return this.go();
  }

  /** Whether thinking is being read. */
  get thinks(): boolean {
    return this.out.thinking;
  }

  private go(): readonly ReplyEvent[] {
    this.reading.next();
    const { events } = this;
    this.events = [];
    return events;
  }
}

/** Numbers calls, drops those that are too many, and joins what belongs together. */
export class ReplySink implements CallSink {
  private readonly single: boolean;
  private readonly newId: () => string;
  private readonly emit: (event: ReplyEvent) => void;
  private index = -1;
  private muted = false;
  /** Thinking is being read. */
  thinking = false;
  private text = "";
  private name = "";
  private readonly tools: readonly ToolShape[];

  constructor({ single, dialect, tools }: ReplyFormat, emit: (event: ReplyEvent) => void) {
    this.single = single;
    this.tools = tools;
    this.newId = dialect.ids === "nine" ? () => randomText(9) : () => `call_${randomText(24)}`;
    this.emit = emit;
  }

  say(kind: "reasoning" | "content", text: string): void {
    if (text !== "") this.emit({ kind, text });
  }

  warn(text: string): void {
    this.emit({ kind: "warning", text });
  }

  begin(name: string, id: string | undefined): void {
    this.muted = this.single && this.index >= 0;
    if (this.muted) {
      this.warn(`a further call, of ${name}, was left out: only one was asked for`);
      return;
    }
    this.index++;
    this.name = name;
    this.text = "";
    // A number counts the calls of one answer; an id tells apart those of a conversation.
    const known = id !== undefined && !/^\d{1,4}$/.test(id) ? id : this.newId();
    this.emit({ kind: "call", index: this.index, name, id: known });
  }

  private check(): void {
    const what = `the arguments of call ${this.index + 1}`;
    if (!isJson(this.text)) this.warn(`${what} are no JSON`);
    else {
      const broken = brokenBy(this.tools.find(({ name }) => name === this.name)?.parameters, this.text);
      if (broken !== undefined) this.warn(`${what} break ${broken}`);
    }
  }

  write(text: string): void {
    if (this.muted || text === "") return;
    this.text += text;
    this.emit({ kind: "arguments", index: this.index, text });
  }

  end(whole: boolean): void {
    if (this.muted) return;
    if (whole) this.check();
    this.emit({ kind: "callEnd", index: this.index, whole });
    this.text = "";
  }
}

/** Finds what arguments break of their schema: no constraint held them, or not to the letter. */
function brokenBy(schema: unknown, json: string): string | undefined {
  if (typeof schema !== "object" || schema === null) return undefined;
  try {
    const [first] = validateSchema(schema, JSON.parse(json)) ?? [];
    return first && `${first.keyword} of their schema at ${first.at === "" ? "the top" : first.at}`;
  } catch {
    return undefined; // a schema that nobody can read
  }
}

/** Letters and digits. */
function randomText(length: number): string {
  return randomBytes(2 * length)
    .toString("base64")
    .replace(/[^A-Za-z0-9]/g, "")
    .slice(0, length)
    .padEnd(length, "0");
}

/** Replies that are a text with marks in it: all but those that have headers. */
class PlainReader {
  private readonly input: Input;
  private readonly format: ReplyFormat;
  private readonly calls: CallReader;
  private readonly out: ReplySink;
  /** Forms by what they begin with. */
  private readonly openers = new Map<string, CallForm[]>();
  private readonly bare: readonly CallForm[];
  private readonly thinking: readonly (readonly [open: string, close: string])[];
  /** Nothing has been said since the beginning, or since the last call. */
  private fresh = true;

  constructor(input: Input, format: ReplyFormat, calls: CallReader, out: ReplySink) {
    this.input = input;
    this.format = format;
    this.calls = calls;
    this.out = out;
    this.thinking = thinkingOf(format.dialect);
    const armed = format.tools.length > 0 ? format.dialect.forms : [];
    for (const form of armed) {
      const opener = openerOf(form);
      if (opener !== undefined) this.openers.set(opener, [...(this.openers.get(opener) ?? []), form]);
    }
    this.bare = armed.filter((form) => openerOf(form) === undefined);
  }

  *read(): Reading<void> {
    if (this.format.thinks) yield* this.think(this.thinking.map(([, close]) => close));
    for (;;) {
      if (this.fresh) yield* this.beginning();
      if (!(yield* this.content())) return;
    }
  }

  /** At the beginning, and after calls: thinking, or a call without marks. */
  private *beginning(): Reading<void> {
    const { input } = this;
    const openers = this.thinking.map(([open]) => open.trim());
    for (;;) {
      const space = yield* input.spaceFrom();
      const mark = yield* this.oneOf(openers, space);
      if (mark !== undefined) {
        input.at += space + mark.length;
        yield* this.think(this.thinking.filter(([open]) => open.trim() === mark).map(([, close]) => close));
        continue;
      }
      const { answer, skipped = [] } = this.format.dialect;
      const skip = yield* this.oneOf(skipped, space);
      if (skip !== undefined) {
        input.at += space + skip.length;
        continue;
      }
      if (answer !== undefined && (yield* this.oneOf([answer[0]], space)) !== undefined) {
        input.at += space + answer[0].length;
        yield* input.skipSpace();
        return;
      }
      const first = yield* input.peek(space);
      for (const form of this.bare) {
        if (!beginsBare(form, first)) continue;
        if ((yield* this.calls.read(form)) === "calls") return yield* this.beginning();
        input.back();
      }
      return;
    }
  }

  /** The mark that stands `ahead`. Waits while what is there may become one. */
  private *oneOf(marks: readonly string[], ahead: number): Reading<string | undefined> {
    for (const mark of [...marks].sort((a, b) => b.length - a.length)) {
      let n = 0;
      while (n < mark.length && (yield* this.input.peek(ahead + n)) === mark[n]) n++;
      if (n === mark.length) return mark;
    }
    return undefined;
  }

  /**
   * Thinking, up to a mark that closes it. Calls are not read inside; but models forget the closing mark before a call.
   * So what follows the beginning of a call is held back until it is clear which of both it is.
   */
  private *think(closers: readonly string[]): Reading<void> {
    this.out.thinking = true;
    yield* this.thought(closers);
    this.out.thinking = false;
    yield* this.input.skipSpace();
  }

  private *thought(closers: readonly string[]): Reading<void> {
    const { input, out } = this;
    const openers = [...this.openers.keys()];
    let begun = false;
    const say = (text: string): void => {
      const said = begun ? text : text.trimStart();
      begun ||= said !== "";
      out.say("reasoning", said);
    };
    for (;;) {
      const end = firstMark(input.text, closers, input.at);
      if (end !== undefined) {
        say(input.take(end.at - input.at).trimEnd());
        input.at += end.mark.length;
        return;
      }
      const opener = firstMark(input.text, openers, input.at);
      if (opener === undefined || input.ended) {
        const to =
          opener?.at ??
          input.text.length - (input.ended ? 0 : beginningAtEnd(input.text, [...closers, ...openers], input.at));
        const safe = input.text.slice(input.at, to).trimEnd().length;
        if (safe > 0) say(input.take(safe));
      }
      if (!input.ended) {
        yield;
        continue;
      }
      if (opener === undefined || (yield* this.readCalls(opener.mark)) === "none") {
        say(input.take(input.text.length - input.at).trimEnd());
      }
      return;
    }
  }

  /** Text for the reader up to the next call. @returns false at the end */
  private *content(): Reading<boolean> {
    const { input, out } = this;
    const close = this.format.dialect.answer?.[1];
    const openers = [...this.openers.keys()];
    const marks = close === undefined ? openers : [...openers, close];
    for (;;) {
      const found = firstMark(input.text, marks, input.at);
      // A longer mark with the same beginning may follow.
      const longer = found && marks.some((mark) => mark.length > found.mark.length && mark.startsWith(found.mark));
      // So may one that began before and is not whole yet.
      const pending = beginningAtEnd(input.text, marks, input.at);
      const earlier = found !== undefined && input.text.length - pending < found.at;
      const unclear = earlier || (longer && input.text.length - found!.at < mostMark(marks));
      if (unclear && !input.ended) {
        yield;
        continue;
      }
      if (found !== undefined) {
        const before = input.text.slice(input.at, found.at);
        const said = before.trimEnd();
        this.say(said);
        input.at = found.at;
        if (found.mark === close) {
          input.at += close.length;
          yield* input.skipSpace();
          continue;
        }
        const read = yield* this.readCalls(found.mark);
        if (read === "calls") {
          this.fresh = true;
          yield* input.skipSpace();
          return true;
        }
        if (read === "content") continue;
        const common = this.openers.get(found.mark)?.every((form) => form.common === true);
        if (common !== true) out.warn("what looks like a tool call could not be read; its text is in the content");
        this.say(before.slice(said.length) + input.take(found.mark.length));
        continue;
      }
      const rest = input.text.slice(input.at);
      let keep = input.ended ? 0 : pending;
      // White space before a call is not said.
      if (!input.ended && marks.length > 0) {
        while (keep < rest.length && isSpace(rest[rest.length - keep - 1]!)) keep++;
      }
      this.say(input.take(rest.length - keep));
      if (input.ended) return false;
      yield;
    }
  }

  private say(text: string): void {
    if (text === "") return;
    this.fresh = false;
    this.out.say("content", text);
  }

  private *readCalls(opener: string): Reading<"calls" | "content" | "none"> {
    for (const form of this.openers.get(opener) ?? []) {
      const read = yield* this.calls.read(form);
      if (read !== "none") return read;
      this.input.back();
    }
    return "none";
  }
}

function mostMark(marks: readonly string[]): number {
  return Math.max(...marks.map((mark) => mark.length));
}

/** Reads a reply that is there as a whole. */
export function readReply(format: ReplyFormat, text: string): Reply {
  const reader = new ReplyReader(format);
  const gathered = new ReplyGatherer();
  gathered.add(reader.push(text));
  gathered.add(reader.end());
  return gathered.reply;
}

/** Joins events. */
export class ReplyGatherer {
  private reasoning = "";
  private content = "";
  private readonly calls: { name: string; id: string; arguments: string; whole: boolean }[] = [];
  private readonly warnings: string[] = [];

  add(events: readonly ReplyEvent[]): void {
    for (const event of events) {
      if (event.kind === "reasoning") this.reasoning += event.text;
      else if (event.kind === "content") this.content += event.text;
      else if (event.kind === "warning") this.warnings.push(event.text);
      else if (event.kind === "call") {
        this.calls.push({ name: event.name, id: event.id, arguments: "", whole: false });
      } else if (event.kind === "arguments") this.calls[event.index]!.arguments += event.text;
      else this.calls[event.index]!.whole = event.whole;
    }
  }

  get reply(): Reply {
    const { reasoning, content, calls, warnings } = this;
    return { reasoning, content, calls, warnings };
  }
}
