/** Prepares a text for Unigram: replacements of the charsmap, spaces as "▁", one before the text. */
import type { Charsmap } from "./charsmap.js";
import { utf8Length } from "./unicode.js";

/** A longer buffer is given back when a text is done. */
const maxKept = 1 << 20;

export interface UnigramSpaces {
  /** A space before the text. */
  readonly prefix: boolean;
  /** Each run of spaces counts as one, none at the end; before the text there is one then. */
  readonly merge: boolean;
}

export class UnigramNormalizer {
  readonly #charsmap: Charsmap | undefined;
  readonly #spaces: UnigramSpaces;
  /** The normalized text is `bytes[0, length)`. */
  bytes: Uint8Array = new Uint8Array(1024);
  length = 0;
  #inWord = false;
  #prefixed = false;

  constructor(charsmap: Charsmap | undefined, spaces: UnigramSpaces) {
    this.#charsmap = charsmap;
    this.#spaces = spaces;
  }

  /** @param text well-formed UTF-8 */
  run(text: Uint8Array): void {
    this.length = 0;
    this.#inWord = false;
    this.#prefixed = false;
    const map = this.#charsmap;
    for (let at = 0; at < text.length; ) {
      const matched = map === undefined ? 0 : map.match(text, at);
      if (matched > 0) {
        this.#put(map!.replacements, map!.from, map!.to);
        at += matched;
        continue;
      }
      const end = Math.min(at + utf8Length(text[at]!), text.length);
      this.#put(text, at, end);
      at = end;
    }
  }

  release(): void {
    if (this.bytes.length > maxKept) this.bytes = new Uint8Array(1024);
  }

  #put(source: Uint8Array, from: number, to: number): void {
    const most = this.length + 3 * (to - from + 1);
    if (most > this.bytes.length) {
      const grown = new Uint8Array(2 * most);
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    for (let i = from; i < to; i++) {
      const byte = source[i]!;
      if (byte === 0x20) {
        this.#inWord = false;
        if (!this.#spaces.merge) this.#putSpace();
        continue;
      }
      if (!this.#inWord) {
        this.#inWord = true;
        if (this.#spaces.merge || (this.#spaces.prefix && !this.#prefixed)) {
          this.#putSpace();
          this.#prefixed = true;
        }
      }
      this.bytes[this.length++] = byte;
    }
  }

  #putSpace(): void {
    this.bytes[this.length++] = 0xe2;
    this.bytes[this.length++] = 0x96;
    this.bytes[this.length++] = 0x81;
  }
}
