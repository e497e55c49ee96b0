/** Reads tool calls out of a reply, in the form that a dialect describes, and passes them on while they are written. */
import { type Input, isSpace, type Reading } from "./input.js";
import { copyArguments, shortString, wholeJson } from "./json-text.js";
import { gemmaValue, pythonValue } from "./literals.js";
import { readNested } from "./nested.js";
import { readParams } from "./params.js";
import { argumentNames } from "./schema-kind.js";
import type { CallForm, ObjectKeys, Piece, ToolShape } from "./types.js";

/** Takes what is read. */
export interface CallSink {
  begin(name: string, id: string | undefined): void;
  /** A part of the arguments, which are JSON text. */
  write(text: string): void;
  /** @param whole false when the text ended before the arguments did */
  end(whole: boolean): void;
}

/** `none`: what stands here is no call, and nothing was read. `content`: it is the mark of a text for the reader. */
export type ReadForm = "calls" | "content" | "none";

type ReadCall = "whole" | "cut" | "content" | "none";

export class CallReader {
  private readonly input: Input;
  private readonly tools: ReadonlyMap<string, ToolShape>;
  private readonly sink: CallSink;

  constructor(input: Input, tools: readonly ToolShape[], sink: CallSink) {
    this.input = input;
    this.tools = new Map(tools.map((tool) => [tool.name, tool]));
    this.sink = sink;
  }

  /** Reads all calls that stand here one after the other. */
  *read(form: CallForm): Reading<ReadForm> {
    const { input } = this;
    const { section, separator = "" } = form;
    input.hold();
    if (section !== undefined && !(yield* input.literal(section[0]))) {
      input.back();
      return "none";
    }
    for (let count = 0; ; count++) {
      if (count > 0) input.hold();
      const read = yield* this.call(form);
      if (read === "none") {
        // Marks of a section without a call in it are no call either.
        if (count === 0) return "none";
        input.back();
        break;
      }
      input.release();
      if (read === "content") return "content";
      if (read === "cut") return "calls";
      if (separator.trim() !== "") yield* input.literal(separator);
      if (!(yield* this.another(form))) break;
    }
    if (section !== undefined) yield* input.literal(section[1]);
    return "calls";
  }

  private *another({ call }: CallForm): Reading<boolean> {
    const [first] = call;
    if (typeof first === "string") return (yield* this.input.matches(first)) >= 0;
    if (first?.is !== "object") return false;
    return (yield* this.input.peek(yield* this.input.spaceFrom())) === "{";
  }

  private *call(form: CallForm): Reading<ReadCall> {
    const { input, sink } = this;
    let name: string | undefined;
    let id: string | undefined;
    let begun = false;
    const begin = (): void => {
      begun = true;
      input.release();
      sink.begin(name!, id);
    };
    let result: ReadCall = "none";
    const pieces = form.call;
    for (const [i, piece] of pieces.entries()) {
      if (typeof piece === "string") {
        if (yield* input.literal(piece)) continue;
        // What closes a call is not insisted on.
        if (begun || result !== "none") break;
        return "none";
      }
      switch (piece.is) {
        case "name": {
          const written = yield* input.name();
          if (written !== "" && written === form.contentName) {
            if ((yield* input.peek()) === "\n") input.at++;
            return "content";
          }
          name = this.known(written);
          if (name === undefined) return "none";
          if (/:\d+$/.test(written)) id = written;
          break;
        }
        case "id":
          id = yield* this.idBefore(pieces[i + 1]);
          if (id === undefined) return "none";
          break;
        case "json": {
          yield* input.skipSpace();
          if (!/[{"n]/.test(yield* input.peek())) return "none";
          begin();
          result = (yield* copyArguments(input, (text) => sink.write(text))) === "cut" ? "cut" : "whole";
          sink.end(result === "whole");
          break;
        }
        case "params": {
          begin();
          const after = [pieces[i + 1], form.section?.[1]].filter((part) => typeof part === "string");
          const end = yield* readParams(input, piece, this.tools.get(name!), after, (text) => sink.write(text));
          result = end === "cut" ? "cut" : "whole";
          sink.end(result === "whole");
          break;
        }
        case "gemma":
        case "nested": {
          yield* input.skipSpace();
          begin();
          const value =
            piece.is === "gemma"
              ? yield* gemmaValue(input)
              : yield* readNested(input, piece.prefix, this.tools.get(name!)?.parameters);
          if (value !== undefined) sink.write(value);
          result = value === undefined ? "cut" : "whole";
          sink.end(value !== undefined);
          break;
        }
        case "object":
          result = yield* this.object(piece);
          break;
        case "list":
          result = yield* this.list((element) => element.object(piece));
          break;
        case "keyed":
          result = yield* this.list((element) => element.keyed());
          break;
        case "python":
          result = yield* this.python();
          break;
      }
      if (typeof piece !== "string" && piece.is !== "name" && piece.is !== "id") {
        if (result === "none" || result === "cut") return result;
        begun = true;
      }
    }
    return result;
  }

  /** The tool that a name means. */
  private known(written: string): string | undefined {
    const plain = written.replace(/^functions?\./, "");
    const names = [written, plain, written.replace(/:\d+$/, ""), plain.replace(/:\d+$/, "")];
    return names.find((name) => this.tools.has(name));
  }

  private *idBefore(next: Piece | undefined): Reading<string | undefined> {
    const { input } = this;
    for (let n = 0; n <= 256; n++) {
      if ((yield* input.peek(n)) === "") return undefined;
      if (typeof next === "string" && (yield* input.matches(next, n)) >= 0) return input.take(n).trim();
    }
    return undefined;
  }

  /** `{"name": ..., "arguments": ...}`, the keys in any order, others passed over. */
  private *object(keys: ObjectKeys): Reading<ReadCall> {
    const { input, sink } = this;
    yield* input.skipSpace();
    if ((yield* input.peek()) !== "{") return "none";
    input.at++;
    let name: string | undefined;
    let id: string | undefined;
    let waiting: string | undefined;
    let begun = false;
    const begin = (): void => {
      begun = true;
      input.release();
      sink.begin(name!, id);
    };
    const broken = (): ReadCall => {
      if (!begun) return "none";
      sink.end(false);
      return "cut";
    };
    for (let depth = 1; depth > 0; ) {
      yield* input.skipSpace();
      const c = yield* input.peek();
      if (c === "}" || c === ",") {
        input.at++;
        if (c === "}") depth--;
        continue;
      }
      const key = yield* shortString(input);
      yield* input.skipSpace();
      if (keys.nameFirst === true && name === undefined && key !== keys.name) return "none";
      if (key === undefined || (yield* input.peek()) !== ":") return broken();
      input.at++;
      yield* input.skipSpace();
      const first = yield* input.peek();
      if (key === "function" && first === "{") {
        input.at++;
        depth++;
      } else if (first === '"' && !begun && (key === keys.name || nameKeys.has(key))) {
        name = this.known((yield* shortString(input)) ?? "");
        if (name === undefined) return "none";
        if (waiting === undefined) continue;
        begin();
        sink.write(waiting);
      } else if ((key === keys.arguments || argumentKeys.has(key)) && !begun && waiting === undefined) {
        if (name !== undefined) begin();
        let text = "";
        const end = yield* copyArguments(input, (part) => {
          if (begun) sink.write(part);
          else text += part;
        });
        if (end !== "") return broken();
        if (!begun) waiting = text;
      } else {
        const value = yield* wholeJson(input);
        if (value === undefined) return broken();
        if (key === "id" || key === keys.id) id = value.replace(/^"|"$/g, "");
      }
    }
    if (name === undefined) return "none";
    if (!begun) {
      begin();
      sink.write("{}");
    }
    sink.end(true);
    return "whole";
  }

  /** `{"NAME": ARGUMENTS}` */
  private *keyed(): Reading<ReadCall> {
    const { input, sink } = this;
    yield* input.skipSpace();
    if ((yield* input.peek()) !== "{") return "none";
    input.at++;
    const name = this.known((yield* shortString(input)) ?? "");
    yield* input.skipSpace();
    if (name === undefined || (yield* input.peek()) !== ":") return "none";
    input.at++;
    input.release();
    sink.begin(name, undefined);
    const whole = (yield* copyArguments(input, (text) => sink.write(text))) === "";
    sink.end(whole);
    if (!whole) return "cut";
    yield* input.literal("}");
    return "whole";
  }

  /** A JSON list, or one element without brackets around it. */
  private *list(element: (reader: CallReader) => Reading<ReadCall>): Reading<ReadCall> {
    const { input } = this;
    const listed = yield* input.literal("[");
    for (let count = 0; ; count++) {
      if (count > 0) input.hold();
      const read = yield* element(this);
      if (read === "none") {
        if (count === 0) return "none";
        input.back();
        return "whole";
      }
      input.release();
      if (read !== "whole" || !listed) return read;
      if (yield* input.literal(",")) continue;
      yield* input.literal("]");
      return "whole";
    }
  }

  /** `[name(key='value'), ...]`, or calls without brackets one after the other. */
  private *python(): Reading<ReadCall> {
    const { input, sink } = this;
    const listed = yield* input.literal("[");
    for (let count = 0; ; count++) {
      if (count > 0) input.hold();
      const name = this.known((yield* input.name()).replace(/\.call$/, ""));
      yield* input.skipSpace();
      if (name === undefined || (yield* input.peek()) !== "(") {
        if (count === 0) return "none";
        input.back();
        return "whole";
      }
      input.at++;
      input.release();
      sink.begin(name, undefined);
      const whole = yield* this.pythonArguments(name);
      sink.end(whole);
      if (!whole) return "cut";
      if (!(yield* input.literal(","))) yield* input.literal(";");
      if (listed && (yield* input.literal("]"))) return "whole";
    }
  }

  /** Up to the closing bracket. Values without a key are taken in the order of the schema. */
  private *pythonArguments(name: string): Reading<boolean> {
    const { input, sink } = this;
    const order = argumentNames(this.tools.get(name)?.parameters);
    sink.write("{");
    for (let count = 0; ; count++) {
      yield* input.skipSpace();
      if ((yield* input.peek()) === ")") {
        input.at++;
        sink.write("}");
        return true;
      }
      const key = (yield* this.pythonKey()) ?? order[count] ?? `argument_${count}`;
      const value = yield* pythonValue(input);
      if (value === undefined) return false;
      sink.write(`${count > 0 ? ", " : ""}${JSON.stringify(key)}: ${value}`);
      yield* input.literal(",");
    }
  }

  private *pythonKey(): Reading<string | undefined> {
    const { input } = this;
    let n = 0;
    while (/[\p{L}\p{N}_]/u.test(yield* input.peek(n))) n++;
    const space = yield* input.spaceFrom(n);
    if (n === 0 || (yield* input.peek(n + space)) !== "=") return undefined;
    const key = input.take(n);
    input.at += space + 1;
    return key;
  }
}

/** Models mix the habits of families. */
const nameKeys = new Set(["name", "tool_name", "function"]);
const argumentKeys = new Set(["arguments", "parameters", "args"]);

/** The mark a form begins with, as it is looked for in a text. */
export function openerOf({ section, call, bare }: CallForm): string | undefined {
  if (bare === true) return undefined;
  const first = section?.[0] ?? call[0];
  if (typeof first !== "string") return undefined;
  return first.trim().split("\n")[0]!;
}

/** Whether a text can be the beginning of a form without marks: a bracket. */
export function beginsBare({ call }: CallForm, character: string): boolean {
  const [first] = call;
  if (typeof first === "string" || first === undefined || isSpace(character)) return false;
  return first.is === "python" || first.is === "list" ? character === "[" : character === "{";
}
