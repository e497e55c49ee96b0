/**
 * Reads JSON values out of a reply while they are written, and passes their text on as it comes. What the model wrote
 * is not corrected, but for one thing: control characters inside a string, which models write raw, are escaped.
 */
import { type Input, isSpace, type Reading } from "./input.js";

export type Write = (text: string) => void;

/** Longest key or name that is read; longer ones are no call. */
const mostKeyLength = 1024;
/** A value that is not finished is passed on in parts of about this many characters. */
const partLength = 4096;

/**
 * Passes one JSON value on.
 * @returns "" when it is whole, "cut" when the text ended inside, "none" when there is no value here
 */
export function* copyJson(input: Input, write: Write): Reading<"" | "cut" | "none"> {
  yield* input.skipSpace();
  const first = yield* input.peek();
  if (first === '"') return yield* copyString(input, write);
  if (first === "{" || first === "[") return yield* copyNested(input, write);
  let n = 0;
  while (/[-+.\w]/.test(yield* input.peek(n))) n++;
  if (n === 0) return "none";
  write(input.take(n));
  return "";
}

function* copyString(input: Input, write: Write): Reading<"" | "cut"> {
  write(input.take(1));
  for (;;) {
    const c = yield* input.peek();
    if (c === "") return "cut";
    if (c === "\\") {
      if ((yield* input.peek(1)) === "") return "cut";
      write(input.take(2));
    } else {
      write(escaped(input.take(1)));
      if (c === '"') return "";
    }
  }
}

/** Objects and lists: brackets are counted, strings are passed over. */
function* copyNested(input: Input, write: Write): Reading<"" | "cut"> {
  let depth = 0;
  let part = "";
  const flush = (): void => {
    if (part !== "") write(part);
    part = "";
  };
  const add = (text: string): void => {
    part += text;
    if (part.length >= partLength) flush();
  };
  for (;;) {
    if (input.at >= input.text.length) flush();
    const c = yield* input.peek();
    if (c === "") return "cut";
    if (c === '"') {
      flush();
      if ((yield* copyStringParts(input, add)) === "cut") {
        flush();
        return "cut";
      }
      continue;
    }
    if (c === "{" || c === "[") depth++;
    else if (c === "}" || c === "]") depth--;
    add(input.take(1));
    if (depth === 0) {
      flush();
      return "";
    }
  }

  function* copyStringParts(from: Input, to: Write): Reading<"" | "cut"> {
    to(from.take(1));
    for (;;) {
      if (from.at >= from.text.length) flush();
      const c = yield* from.peek();
      if (c === "") return "cut";
      if (c === "\\") {
        if ((yield* from.peek(1)) === "") return "cut";
        to(from.take(2));
      } else {
        to(escaped(from.take(1)));
        if (c === '"') return "";
      }
    }
  }
}

/** A JSON value as a text; undefined when there is none, or it is not whole. */
export function* wholeJson(input: Input): Reading<string | undefined> {
  let text = "";
  const end = yield* copyJson(input, (part) => {
    text += part;
  });
  return end === "" ? text : undefined;
}

/** A JSON string with its escapes resolved, no longer than a key may be. */
export function* shortString(input: Input): Reading<string | undefined> {
  yield* input.skipSpace();
  if ((yield* input.peek()) !== '"') return undefined;
  let n = 1;
  for (;;) {
    const c = yield* input.peek(n);
    if (c === "" || n > mostKeyLength) return undefined;
    n += c === "\\" ? 2 : 1;
    if (c === '"') break;
  }
  try {
    return JSON.parse(input.take(n)) as string;
  } catch {
    return undefined;
  }
}

/**
 * Passes the arguments of a call on. Nothing is `{}`; a string that holds an object, as models write that encode twice,
 * counts as the object.
 */
export function* copyArguments(input: Input, write: Write): Reading<"" | "cut" | "none"> {
  yield* input.skipSpace();
  const first = yield* input.peek();
  if (first === "n") {
    const end = yield* copyJson(input, () => {});
    write("{}");
    return end;
  }
  if (first !== '"') return yield* copyJson(input, write);
  if (!(yield* holdsObject(input))) return yield* copyJson(input, write);
  input.at++;
  for (;;) {
    const c = yield* input.peek();
    if (c === "") return "cut";
    if (c === '"') {
      input.at++;
      return "";
    }
    if (c !== "\\") {
      write(input.take(1));
      continue;
    }
    const length = (yield* input.peek(1)) === "u" ? 6 : 2;
    if ((yield* input.peek(length - 1)) === "") return "cut";
    write(unescaped(input.take(length)));
  }
}

/** Whether the string that begins here has `{` as its first character. */
function* holdsObject(input: Input): Reading<boolean> {
  for (let n = 1; ; n++) {
    const c = yield* input.peek(n);
    if (c === "\\" && /[ntr]/.test(yield* input.peek(n + 1))) n++;
    else if (!isSpace(c)) return c === "{";
  }
}

function unescaped(written: string): string {
  try {
    return JSON.parse(`"${written}"`) as string;
  } catch {
    return written;
  }
}

function escaped(character: string): string {
  return character < " " ? JSON.stringify(character).slice(1, -1) : character;
}

export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
