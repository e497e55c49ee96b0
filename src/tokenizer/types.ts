/** One interface for every vocabulary kind. Ids are token ids; text is a JavaScript string or UTF-8 bytes. */

export interface EncodeOptions {
  /** Recognise the texts of control tokens (template text only; never for what a user typed). Default false. */
  readonly parseSpecial?: boolean;
  /** Add BOS / EOS as the model's metadata says. Default true. */
  readonly addSpecial?: boolean;
}

export type TokenKind = "normal" | "unknown" | "control" | "user" | "unused" | "byte" | "undefined";

export interface SpecialTokens {
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  readonly eot: number | undefined;
  readonly unknown: number | undefined;
  readonly padding: number | undefined;
  /** Ends a text of a BERT model and stands between the two texts of a pair. */
  readonly separator: number | undefined;
  readonly mask: number | undefined;
}

/** Tokens that say what a part of the text is; each may be missing. */
export interface FimTokens {
  readonly prefix: number | undefined;
  readonly suffix: number | undefined;
  readonly middle: number | undefined;
  readonly pad: number | undefined;
  readonly repository: number | undefined;
  readonly file: number | undefined;
}

export const noFim: FimTokens = {
  prefix: undefined,
  suffix: undefined,
  middle: undefined,
  pad: undefined,
  repository: undefined,
  file: undefined,
};

export interface Tokenizer {
  readonly size: number;
  /** "bpe" | "spm" | "wordpiece" | "unigram" and the pre-tokenizer's name, for reports. */
  readonly kind: string;
  readonly preTokenizer: string | undefined;
  readonly special: SpecialTokens;
  readonly fim: FimTokens;
  readonly addBos: boolean;
  /** Something ends each text: EOS, or the separator of WordPiece. */
  readonly addEos: boolean;
  /** The separator stands between the two texts of a pair. */
  readonly addSeparator: boolean;
  /** Encoding puts a space before the text (SentencePiece, WordPiece); decoding a whole text takes it away again. */
  readonly addSpacePrefix: boolean;
  encode(text: string, options?: EncodeOptions): Int32Array;
  /**
   * Template output with the parts a user wrote marked: special tokens are parsed in `template` segments only.
   * Adds BOS unless the text already begins with it, or `goesOn`: then it goes on with a text that has one.
   */
  encodeSegments(segments: readonly { readonly text: string; readonly user: boolean }[], goesOn?: boolean): Int32Array;
  /** Exact bytes of one token; control tokens are empty unless `special`. */
  pieceBytes(id: number, special?: boolean): Uint8Array;
  /** The token's text as the vocabulary writes it, for display. */
  piece(id: number): string;
  tokenKind(id: number): TokenKind;
  /** `continues`: the space that encoding put before a text stays. */
  decode(ids: ArrayLike<number>, options?: { readonly special?: boolean; readonly continues?: boolean }): string;
  /** Ids at which generation ends. */
  readonly endOfGeneration: ReadonlySet<number>;
  /** Id of a token by its vocabulary text. */
  tokenId(text: string): number | undefined;
}

/** Turns a stream of ids into text that never splits a code point. */
export interface StreamDecoder {
  push(id: number): string;
  /** Returns what is held back, with U+FFFD for an incomplete sequence. */
  flush(): string;
}
