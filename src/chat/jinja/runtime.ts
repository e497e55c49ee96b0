/** The state of a rendering: names in their scopes, the output, and the values every template finds. */
import { match, wantInt } from "./arguments.js";
import { TemplateFault, typeError } from "./errors.js";
import { escapeStr } from "./escape.js";
import type { FilterContext } from "./filter.js";
import { attributeGetter, filters } from "./filters.js";
import { make, maxRange, step } from "./limits.js";
import { str } from "./repr.js";
import { strftime } from "./strftime.js";
import { tests } from "./tests.js";
import { asMarkup, isStr, plain, type Str, StrBuilder } from "./text.js";
import {
  type Arguments,
  Callable,
  Dict,
  iterate,
  listOf,
  Namespace,
  orElse,
  Range,
  truthy,
  Undefined,
  type Value,
} from "./values.js";

export class Scope {
  readonly names = new Map<string, Value>();
  readonly parent: Scope | undefined;

  constructor(parent: Scope | undefined) {
    this.parent = parent;
  }

  find(name: string): Value | undefined {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.parent) {
      const value = scope.names.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

export interface Environment {
  /** Local time of `strftime_now`. */
  readonly now: () => Date;
  readonly random: () => number;
}

export class Runtime implements FilterContext {
  readonly truncateLeeway = 5;
  autoescape = false;
  scope: Scope;
  readonly root: Scope;
  readonly environment: Environment;
  private out = new StrBuilder();

  constructor(values: Dict, environment: Environment) {
    this.environment = environment;
    this.root = new Scope(new Scope(undefined));
    for (const [name, value] of globals(environment)) this.root.parent!.names.set(name, value);
    for (const [name, value] of values.entries()) this.root.parent!.names.set(plain(str(name)), value);
    this.scope = this.root;
  }

  look(name: string): Value {
    step();
    return orElse(this.scope.find(name), () => new Undefined(`'${name}' is undefined`));
  }

  print(value: Value): void {
    const text = str(value);
    this.write(this.autoescape ? escapeStr(text) : text);
  }

  write(text: Str): void {
    make(plain(text).length);
    this.out.add(text);
  }

  /** The text that `work` prints. */
  capture(work: () => void): Str {
    const before = this.out;
    this.out = new StrBuilder();
    try {
      work();
      return this.out.finish(this.autoescape);
    } finally {
      this.out = before;
    }
  }

  /** The text printed so far, without what is captured. */
  finish(): Str {
    return asMarkup(this.out.finish(), false);
  }

  inScope<T>(parent: Scope, work: (scope: Scope) => T): T {
    const before = this.scope;
    const scope = new Scope(parent);
    this.scope = scope;
    try {
      return work(scope);
    } finally {
      this.scope = before;
    }
  }

  filter(name: string, value: Value, args: Arguments): Value {
    const filter = filters.get(name);
    if (filter === undefined) throw new TemplateFault("TemplateSyntaxError", `no filter named '${name}'`);
    return filter(value, args, this);
  }

  test(name: string, value: Value, args: Arguments): boolean {
    const test = tests.get(name);
    if (test === undefined) throw new TemplateFault("TemplateSyntaxError", `no test named '${name}'`);
    return test(value, args);
  }

  getter(attribute: Value, or?: Value): (item: Value) => Value {
    return attributeGetter(attribute, or);
  }

  random(): number {
    return this.environment.random();
  }
}

function globals({ now, random }: Environment): [string, Value][] {
  const named = (name: string, call: (args: Arguments) => Value): [string, Value] => [name, new Callable(name, call)];
  return [
    named("range", range),
    named("dict", dict),
    named("namespace", (args) => new Namespace(dict(args))),
    named("cycler", cycler),
    named("joiner", joiner),
    named("lipsum", (args) => lipsum(args, random)),
    named("raise_exception", (args) => {
      const [message] = match("raise_exception", args, ["message"], 1);
      throw new TemplateFault("TemplateError", plain(str(message!)));
    }),
    named("strftime_now", (args) => {
      const [format] = match("strftime_now", args, ["format"], 1);
      if (!isStr(format!)) throw typeError("strftime_now: a format is a string");
      make(64 * plain(format).length);
      return strftime(now(), plain(format));
    }),
  ];
}

function range(args: Arguments): Range {
  const [first, second, third] = match("range", args, ["start", "stop", "step"], 1);
  for (const value of [first, second, third]) if (value instanceof Undefined) throw value.fail();
  const start = second === undefined ? 0 : wantInt(first!, "range");
  const stop = wantInt(second === undefined ? first! : second, "range");
  const stride = third === undefined ? 1 : wantInt(third, "range");
  if (stride === 0) throw new TemplateFault("ValueError", "range() arg 3 must not be zero");
  const made = new Range(start, stop, stride);
  if (made.length > maxRange)
    throw new TemplateFault(
      "OverflowError",
      `Range too big. The sandbox blocks ranges larger than MAX_RANGE (${maxRange}).`,
    );
  return made;
}

/** dict(mapping or pairs, **named) */
function dict({ positional, named }: Arguments): Dict {
  const out = new Dict();
  const [first] = positional;
  if (positional.length > 1) throw typeError(`dict expected at most 1 argument, got ${positional.length}`);
  if (first instanceof Dict) for (const [key, value] of first.entries()) out.set(key, value);
  else if (first !== undefined) {
    for (const pair of iterate(first)) {
      const items = listOf(pair);
      if (items.length !== 2) throw typeError("dictionary update sequence elements have two items");
      out.set(items[0]!, items[1]!);
    }
  }
  for (const [key, value] of named) out.set(key, value);
  return out;
}

function cycler({ positional }: Arguments): Value {
  if (positional.length === 0) throw new TemplateFault("TypeError", "at least one item has to be provided");
  let at = 0;
  const next = (): Value => {
    const value = positional[at % positional.length]!;
    at++;
    return value;
  };
  return new Callable("cycler", next, "cycler", (name) => {
    if (name === "next") return new Callable("next", next);
    if (name === "current") return positional[at % positional.length]!;
    if (name !== "reset") return undefined;
    return new Callable("reset", () => {
      at = 0;
      return null;
    });
  });
}

function joiner(args: Arguments): Value {
  const [separator = ", "] = match("joiner", args, ["sep"], 0);
  let used = false;
  return new Callable(
    "joiner",
    () => {
      if (used) return separator;
      used = true;
      return "";
    },
    "joiner",
  );
}

const words =
  "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore".split(
    " ",
  );

/** Random filler text, in paragraphs. */
function lipsum(args: Arguments, random: () => number): Str {
  const [count = 5, html = true, low = 20, high = 100] = match("lipsum", args, ["n", "html", "min", "max"], 0);
  const pick = (from: number, to: number): number => from + Math.floor(random() * Math.max(1, to - from));
  const paragraphs: string[] = [];
  for (let i = 0; i < Math.min(wantInt(count, "lipsum"), 100); i++) {
    const size = Math.min(pick(wantInt(low, "lipsum"), wantInt(high, "lipsum")), 1000);
    const text = Array.from({ length: size }, () => words[pick(0, words.length)]).join(" ");
    make(text.length);
    paragraphs.push(`${text.charAt(0).toUpperCase()}${text.slice(1)}.`);
  }
  if (!truthy(html)) return paragraphs.join("\n\n");
  return asMarkup(paragraphs.map((text) => `<p>${text}</p>`).join("\n"), true);
}
