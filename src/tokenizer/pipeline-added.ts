/**
 * Added tokens of tokenizer.json: found in the text before it is cut, the leftmost first, of several at one place the
 * longest.
 */
import type { Fragment, ParseSpecial } from "./partition.js";
import { UserRanges } from "./partition.js";
import { isGuarded, type Vocabulary } from "./vocab.js";

export interface Added {
  readonly id: number;
  readonly content: string;
  readonly singleWord: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

const space = /\p{White_Space}/u;
const wordCharacter = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]/u;

interface Found {
  readonly from: number;
  readonly to: number;
  readonly id: number;
}

/** Finds tokens in a text. */
export class AddedTokens {
  readonly #byFirst = new Map<string, Added[]>();
  readonly #first: RegExp | undefined;

  constructor(tokens: readonly Added[]) {
    for (const token of tokens) {
      if (token.content === "") continue;
      const first = token.content[0]!;
      this.#byFirst.set(first, [...(this.#byFirst.get(first) ?? []), token]);
    }
    for (const group of this.#byFirst.values()) group.sort((a, b) => b.content.length - a.content.length);
    const letters = [...this.#byFirst.keys()].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
    this.#first = letters.length === 0 ? undefined : new RegExp(`[${letters.join("")}]`, "g");
  }

  /** @param allowed whether a token may be recognised at this place */
  find(text: string, allowed: (token: Added, from: number, to: number) => boolean): Found[] {
    const out: Found[] = [];
    const first = this.#first;
    if (first === undefined) return out;
    let last = 0;
    first.lastIndex = 0;
    for (let match = first.exec(text); match !== null; match = first.exec(text)) {
      const at = match.index;
      const token = this.#byFirst
        .get(match[0])!
        .find((each) => text.startsWith(each.content, at) && allowed(each, at, at + each.content.length));
      if (token === undefined) continue;
      let [from, to] = [at, at + token.content.length];
      first.lastIndex = to;
      if (token.singleWord && (wordAt(text, from - 1) || wordAt(text, to))) continue;
      if (token.lstrip) while (from > last && space.test(text[from - 1]!)) from--;
      if (token.rstrip) while (to < text.length && space.test(text[to]!)) to++;
      first.lastIndex = to;
      out.push({ from, to, id: token.id });
      last = to;
    }
    return out;
  }
}

function wordAt(text: string, at: number): boolean {
  return at >= 0 && at < text.length && wordCharacter.test(text[at]!);
}

/** Finds the tokens that stand in raw text; special ones only where a template wrote. */
export class AddedPartitioner {
  readonly #tokens: AddedTokens;
  readonly #vocabulary: Vocabulary;

  constructor(tokens: readonly Added[], vocabulary: Vocabulary) {
    this.#tokens = new AddedTokens(tokens);
    this.#vocabulary = vocabulary;
  }

  partition(bytes: Uint8Array, parse: ParseSpecial): Fragment[] {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
    const guard = new UserRanges(parse);
    const place = placesOf(text, bytes.length);
    const { attributes } = this.#vocabulary;
    const found = this.#tokens.find(text, ({ id }, from, to) => {
      if (!isGuarded(attributes[id]!)) return true;
      return parse === true || (parse !== false && guard.allows(place(from), place(to)));
    });
    const out: Fragment[] = [];
    let last = 0;
    for (const { from, to, id } of found) {
      if (place(from) > last) out.push({ from: last, to: place(from), id: -1 });
      out.push({ from: place(from), to: place(to), id });
      last = place(to);
    }
    if (last < bytes.length) out.push({ from: last, to: bytes.length, id: -1 });
    return out;
  }
}

/** Places in UTF-16 as places in UTF-8. */
function placesOf(text: string, bytes: number): (unit: number) => number {
  if (bytes === text.length) return (unit) => unit;
  const places = new Uint32Array(text.length + 1);
  for (let unit = 0, at = 0; unit < text.length; ) {
    const point = text.codePointAt(unit)!;
    const units = point > 0xffff ? 2 : 1;
    places[unit] = at;
    if (units === 2) places[unit + 1] = at;
    at += point < 0x80 ? 1 : point < 0x800 ? 2 : point <= 0xffff ? 3 : 4;
    unit += units;
    places[unit] = at;
  }
  return (unit) => places[unit]!;
}
