/** Text from a stream of ids, in whole code points. */
import type { StreamDecoder, Tokenizer } from "./types.js";

export interface StreamDecoderOptions {
  /** Show control tokens: all, or those with these ids. Default false. */
  readonly special?: boolean | ReadonlySet<number>;
  /**
   * The ids continue a text (a generation after a prompt), so a SentencePiece word keeps its leading space.
   * Default false: the space that encoding put before the text is taken away again.
   */
  readonly continues?: boolean;
}

// Not fatal: U+FFFD for invalid bytes; a byte order mark is text like any other.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

class Utf8StreamDecoder implements StreamDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #special: boolean | ReadonlySet<number>;
  #stripSpace: boolean;
  /** The incomplete sequence at the end: at most 3 bytes. */
  #held: Uint8Array = new Uint8Array(0);

  constructor(tokenizer: Tokenizer, options: StreamDecoderOptions) {
    this.#tokenizer = tokenizer;
    this.#special = options.special ?? false;
    this.#stripSpace = tokenizer.addSpacePrefix && !(options.continues ?? false);
  }

  push(id: number): string {
    let piece = this.#tokenizer.pieceBytes(id, this.#shows(id));
    if (piece.length === 0) return "";
    if (this.#stripSpace) {
      // Control tokens before the text (BOS) do not use the rule up.
      const kind = this.#tokenizer.tokenKind(id);
      if (kind !== "control" && kind !== "unknown") this.#stripSpace = false;
      if (!this.#stripSpace && piece[0] === 0x20) piece = piece.subarray(1);
    }
    const bytes = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]);
    const complete = bytes.length - incompleteTail(bytes);
    this.#held = bytes.slice(complete);
    return utf8.decode(bytes.subarray(0, complete));
  }

  #shows(id: number): boolean {
    return typeof this.#special === "boolean" ? this.#special : this.#special.has(id);
  }

  flush(): string {
    const text = utf8.decode(this.#held);
    this.#held = new Uint8Array(0);
    return text;
  }
}

export function createStreamDecoder(tokenizer: Tokenizer, options: StreamDecoderOptions = {}): StreamDecoder {
  return new Utf8StreamDecoder(tokenizer, options);
}

/**
 * Bytes at the end that begin a sequence which more bytes could complete: 0 to 3. A sequence that is already wrong
 * is not held: decoding the parts then gives the same U+FFFDs as decoding the whole.
 * @source Encoding Standard, UTF-8 decoder (bounds of the second byte)
 */
export function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const at = bytes.length - back;
    const lead = bytes[at]!;
    if ((lead & 0xc0) === 0x80) continue;
    const needed =
      lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 1;
    if (needed <= back) return 0;
    if (back === 1) return 1;
    const second = bytes[at + 1]!;
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high ? back : 0;
  }
  return 0;
}
