/**
 * Reads JSON as bytes, value by value: a vocabulary of 250,000 tokens or a header of 100,000 tensors becomes what the
 * caller makes of it, without an object for each value in between. Depth and lengths are bounded, so a hostile text is
 * an error. `NaN` and `Infinity` are numbers, as Python writes them.
 */
import { HundredweightError } from "../errors.js";

export type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** Whether a value is an object, and neither null nor an array. */
export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Deeper nesting is refused; no file of a model has more than about ten levels. */
const mostDepth = 64;

const quote = 0x22;
const backslash = 0x5c;
const words = new Map<string, number | boolean | null>([
  ["true", true],
  ["false", false],
  ["null", null],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
]);
const escapes: Readonly<Record<string, number>> = {
  '"': 0x22,
  "\\": 0x5c,
  "/": 0x2f,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
};

const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");

export class JsonReader {
  readonly #bytes: Buffer;
  readonly #where: string;
  #at = 0;
  #depth = 0;
  #scratch = Buffer.alloc(256);

  /** @param where begins the error messages: the file */
  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
    // A byte order mark.
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.#at = 3;
  }

  /** Offset of the next byte. */
  get position(): number {
    return this.#at;
  }

  /** The kind of the next value.  @throws FORMAT_INVALID at the end */
  kind(): JsonKind {
    switch (this.#peek()) {
      case 0x7b:
        return "object";
      case 0x5b:
        return "array";
      case quote:
        return "string";
      case 0x74:
      case 0x66:
        return "boolean";
      case 0x6e:
        return "null";
      default:
        return "number";
    }
  }

  /**
   * Calls `each` with every key; it has to take the value. Keys may come twice: only the caller knows what that means.
   */
  object(each: (key: string) => void): void {
    this.objectBytes((key) => {
      each(utf8(key));
    });
  }

  /** Calls `each` for every element; it has to take it. */
  array(each: (index: number) => void): void {
    this.#open(0x5b, "an array");
    if (this.#peek() !== 0x5d) {
      for (let i = 0; ; i++) {
        each(i);
        if (this.#peek() !== 0x2c) break;
        this.#at++;
      }
    }
    this.#close(0x5d, "']'");
  }

  /** Calls `each` with the UTF-8 of every key, valid during the call: a vocabulary's way through. */
  objectBytes(each: (key: Uint8Array) => void): void {
    this.#open(0x7b, "an object");
    if (this.#peek() !== 0x7d) {
      for (;;) {
        const key = this.stringBytes();
        this.#take(0x3a, "':'");
        each(key);
        if (this.#peek() !== 0x2c) break;
        this.#at++;
      }
    }
    this.#close(0x7d, "'}'");
  }

  string(): string {
    return utf8(this.stringBytes());
  }

  /** UTF-8 of a string, valid until the next call; half a surrogate pair is U+FFFD. */
  stringBytes(): Uint8Array {
    if (this.#peek() !== quote) throw this.#expected("a string");
    const bytes = this.#bytes;
    const start = this.#at + 1;
    let end = start;
    while (end < bytes.length && bytes[end] !== quote && bytes[end] !== backslash) {
      if (bytes[end]! < 0x20) throw this.invalid("a control character in a string", end);
      end++;
    }
    if (bytes[end] === quote) {
      this.#at = end + 1;
      return bytes.subarray(start, end);
    }
    return this.#escaped(start);
  }

  #escaped(start: number): Uint8Array {
    const bytes = this.#bytes;
    let end = start;
    while (end < bytes.length && bytes[end] !== quote) end += bytes[end] === backslash ? 2 : 1;
    if (end >= bytes.length) throw this.invalid("a string without an end", start);
    // An escape is never shorter than the UTF-8 of what it stands for.
    if (this.#scratch.length < end - start) this.#scratch = Buffer.alloc(2 * (end - start));
    const out = this.#scratch;
    let n = 0;
    for (let at = start; at < end; ) {
      const byte = bytes[at]!;
      if (byte < 0x20) throw this.invalid("a control character in a string", at);
      if (byte !== backslash) {
        out[n++] = byte;
        at++;
        continue;
      }
      const letter = String.fromCharCode(bytes[at + 1]!);
      if (letter !== "u") {
        const plain = escapes[letter];
        if (plain === undefined) throw this.invalid(`the escape '\\${letter}'`, at);
        out[n++] = plain;
        at += 2;
        continue;
      }
      let point = this.#hex(at + 2);
      at += 6;
      if (point >= 0xd800 && point < 0xdc00 && bytes[at] === backslash && bytes[at + 1] === 0x75) {
        const low = this.#hex(at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
          point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
          at += 6;
        }
      }
      n += out.write(String.fromCodePoint(point >= 0xd800 && point < 0xe000 ? 0xfffd : point), n, "utf8");
    }
    this.#at = end + 1;
    return out.subarray(0, n);
  }

  #hex(at: number): number {
    const text = this.#bytes.toString("latin1", at, at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(text)) throw this.invalid("an escape without four hexadecimal digits", at);
    return Number.parseInt(text, 16);
  }

  number(): number {
    const value = this.#scalar();
    if (typeof value !== "number") throw this.#expected("a number");
    return value;
  }

  boolean(): boolean {
    const value = this.#scalar();
    if (typeof value !== "boolean") throw this.#expected("true or false");
    return value;
  }

  /** The next value as JavaScript has it; objects have no prototype. */
  value(): JsonValue {
    switch (this.kind()) {
      case "string":
        return this.string();
      case "array": {
        const out: JsonValue[] = [];
        this.array(() => out.push(this.value()));
        return out;
      }
      case "object": {
        const out = Object.create(null) as Record<string, JsonValue>;
        this.object((key) => {
          out[key] = this.value();
        });
        return out;
      }
      default:
        return this.#scalar();
    }
  }

  /** Passes over the next value. */
  skip(): void {
    switch (this.kind()) {
      case "string":
        this.stringBytes();
        return;
      case "array":
        this.array(() => this.skip());
        return;
      case "object":
        this.objectBytes(() => this.skip());
        return;
      default:
        this.#scalar();
    }
  }

  /** @throws FORMAT_INVALID when anything but white space is left */
  end(): void {
    this.#space();
    if (this.#at < this.#bytes.length) throw this.invalid("something behind the value", this.#at);
  }

  /** An error that says where. */
  invalid(message: string, at = this.#at): HundredweightError {
    return new HundredweightError("FORMAT_INVALID", `${this.#where}: ${message} at byte ${at} of its JSON`, {
      position: at,
    });
  }

  #expected(what: string): HundredweightError {
    const shown =
      this.#at < this.#bytes.length ? `, found '${this.#bytes.toString("utf8", this.#at, this.#at + 12)}'` : "";
    return this.invalid(`expected ${what}${shown}`);
  }

  #scalar(): number | boolean | null {
    this.#space();
    const bytes = this.#bytes;
    let end = this.#at;
    while (end < bytes.length && end - this.#at < 400 && isScalarByte(bytes[end]!)) end++;
    const text = bytes.toString("latin1", this.#at, end);
    const word = words.get(text);
    const value = word !== undefined ? word : /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? Number(text) : undefined;
    if (value === undefined) throw this.#expected("a value");
    this.#at = end;
    return value;
  }

  #open(byte: number, what: string): void {
    if (this.#peek() !== byte) throw this.#expected(what);
    if (++this.#depth > mostDepth) throw this.invalid(`more than ${mostDepth} levels`);
    this.#at++;
  }

  #close(byte: number, what: string): void {
    this.#take(byte, what);
    this.#depth--;
  }

  #take(byte: number, what: string): void {
    if (this.#peek() !== byte) throw this.#expected(what);
    this.#at++;
  }

  #peek(): number {
    this.#space();
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw this.invalid("the text ends too early");
    return byte;
  }

  #space(): void {
    const bytes = this.#bytes;
    while (this.#at < bytes.length) {
      const byte = bytes[this.#at]!;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at++;
    }
  }
}

/** Letters, digits, signs and the point. */
function isScalarByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    byte === 0x2d ||
    byte === 0x2b ||
    byte === 0x2e
  );
}
