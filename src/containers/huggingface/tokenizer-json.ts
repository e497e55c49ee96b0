/**
 * tokenizer.json: the vocabulary and merges packed as they are read, everything else (normalizer, pre-tokenizer,
 * post-processor, decoder, added tokens) as JSON.
 */
import { HundredweightError } from "../../errors.js";
import { isObject, type JsonObject, JsonReader, type JsonValue } from "../../formats/json-reader.js";
import { PackedStrings } from "../../formats/metadata.js";
import { readSmallFile } from "../../formats/small-file.js";

const limits = {
  fileBytes: 256 * 2 ** 20,
  /** Above any vocabulary in use. */
  tokens: 2 ** 22,
  merges: 2 ** 23,
  addedTokens: 2 ** 17,
} as const;

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
  readonly singleWord: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

export interface TokenizerJson {
  readonly path: string;
  /** `BPE`, `WordPiece`, `Unigram`, `WordLevel`. */
  readonly kind: string;
  /** Settings of the model: all but vocabulary and merges. */
  readonly settings: JsonObject;
  /** Texts by id, those of added tokens among them; ids that nobody has are empty. */
  readonly tokens: PackedStrings;
  /** Ids below are the model's own, what is added comes behind or is among them. */
  readonly modelTokens: number;
  /** Scores of Unigram. @shape [tokens] */
  readonly scores: Float64Array | undefined;
  /**
   * Merges of BPE, left and right text, in the order of rank. Between the two is a space, as in a GGUF file, or where
   * a text has one itself a byte that no UTF-8 has.
   */
  readonly merges: PackedStrings | undefined;
  readonly added: readonly AddedToken[];
  /** `normalizer`, `pre_tokenizer`, `post_processor`, `decoder`; null where there is none. */
  readonly parts: Readonly<Record<Part, JsonObject | null>>;
}

const partNames = ["normalizer", "pre_tokenizer", "post_processor", "decoder"] as const;
export type Part = (typeof partNames)[number];

/** @throws FORMAT_INVALID, TOKENIZER_INVALID, FILE_* */
export function readTokenizerJson(path: string): TokenizerJson {
  const reader = new JsonReader(readSmallFile(path, limits.fileBytes), path);
  const parts: Record<Part, JsonObject | null> = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
  };
  let added: readonly AddedToken[] = [];
  const model = new ModelReader(path, reader);
  reader.object((key) => {
    if (key === "model") model.read();
    else if (key === "added_tokens") added = readAdded(path, reader);
    else if ((partNames as readonly string[]).includes(key)) {
      const value = reader.value();
      parts[key as Part] = isObject(value) ? value : null;
    } else reader.skip();
  });
  reader.end();
  const modelTokens = model.tokens.size;
  for (const { id, content } of added) model.tokens.add(Buffer.from(content), id);
  const tokens = model.tokens.pack();
  const { kind, settings, merges } = model;
  const scores = model.scores === undefined ? undefined : new Float64Array(tokens.length);
  scores?.set(model.scores!.slice(0, tokens.length));
  return { path, kind, settings, tokens, modelTokens, scores, merges: withSpaces(merges?.pack()), added, parts };
}

/** Bytes of a reader are its own: the next string may take their place. */
const copied = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

/** Stands between the texts of a merge: no byte of UTF-8. */
const mergeBorder = 0xff;

function withSpaces(merges: PackedStrings | undefined): PackedStrings | undefined {
  if (merges !== undefined && !merges.bytes.includes(0x20))
    for (let i = 0; i < merges.bytes.length; i++) if (merges.bytes[i] === mergeBorder) merges.bytes[i] = 0x20;
  return merges;
}

class ModelReader {
  readonly tokens: TextsById;
  scores: number[] | undefined;
  merges: TextsById | undefined;
  readonly settings: Record<string, JsonValue> = Object.create(null);
  readonly #path: string;
  readonly #reader: JsonReader;

  constructor(path: string, reader: JsonReader) {
    this.#path = path;
    this.#reader = reader;
    this.tokens = new TextsById(path, limits.tokens);
  }

  /** Old files do not say it. */
  get kind(): string {
    const { type, unk_id: unknown, continuing_subword_prefix: prefix } = this.settings;
    if (typeof type === "string") return type;
    if (this.merges !== undefined) return "BPE";
    return this.scores !== undefined || unknown !== undefined
      ? "Unigram"
      : prefix !== undefined
        ? "WordPiece"
        : "WordLevel";
  }

  read(): void {
    const reader = this.#reader;
    reader.object((key) => {
      if (key === "vocab" && reader.kind() === "object") this.#readIds();
      else if (key === "vocab" && reader.kind() === "array") this.#readScored();
      else if (key === "merges" && reader.kind() === "array") this.#readMerges();
      else this.settings[key] = reader.value();
    });
  }

  /** text -> id */
  #readIds(): void {
    this.#reader.objectBytes((text) => {
      const copy = copied(text);
      this.tokens.add(copy, this.#reader.number());
    });
  }

  /** [text, score] in the order of ids */
  #readScored(): void {
    const scores: number[] = [];
    this.#reader.array((id) => {
      let count = 0;
      this.#reader.array(() => {
        if (count++ === 0) this.tokens.add(this.#reader.stringBytes(), id);
        else scores[id] = this.#reader.number();
      });
      if (count !== 2) throw this.#reader.invalid(`token ${id} is not a text and a score`);
    });
    this.scores = scores;
  }

  /** `left right`, or a pair of texts */
  #readMerges(): void {
    const merges = new TextsById(this.#path, limits.merges);
    const reader = this.#reader;
    reader.array((rank) => {
      if (reader.kind() === "string") {
        const text = copied(reader.stringBytes());
        const space = text.indexOf(0x20, 1);
        if (space < 0) throw reader.invalid(`merge ${rank} has no space`);
        text[space] = mergeBorder;
        merges.add(text, rank);
        return;
      }
      const pair: Uint8Array[] = [];
      reader.array(() => pair.push(copied(reader.stringBytes())));
      if (pair.length !== 2) throw reader.invalid(`merge ${rank} is no pair`);
      merges.add(Buffer.concat([pair[0]!, Uint8Array.of(mergeBorder), pair[1]!]), rank);
    });
    this.merges = merges;
  }
}

function readAdded(path: string, reader: JsonReader): AddedToken[] {
  const added: AddedToken[] = [];
  if (reader.kind() !== "array") {
    reader.skip();
    return added;
  }
  reader.array(() => {
    const value = reader.value();
    if (!isObject(value) || typeof value.content !== "string" || typeof value.id !== "number")
      throw reader.invalid("an added token without an id and a text");
    if (added.length === limits.addedTokens) throw invalid(path, `more than ${limits.addedTokens} added tokens`);
    const special = value.special === true;
    added.push({
      id: value.id,
      content: value.content,
      special,
      normalized: typeof value.normalized === "boolean" ? value.normalized : !special,
      singleWord: value.single_word === true,
      lstrip: value.lstrip === true,
      rstrip: value.rstrip === true,
    });
  });
  return added;
}

/** Texts that come in any order of their numbers. */
class TextsById {
  readonly #path: string;
  readonly #most: number;
  #bytes = new Uint8Array(1 << 16);
  #used = 0;
  /** By number: where its text begins + 1, and its length. */
  #starts = new Float64Array(1024);
  #lengths = new Uint32Array(1024);
  size = 0;

  constructor(path: string, most: number) {
    this.#path = path;
    this.#most = most;
  }

  /** The last of several texts of a number stays. */
  add(text: Uint8Array, id: number): void {
    if (!(Number.isSafeInteger(id) && id >= 0 && id < this.#most))
      throw invalid(this.#path, `a token has the id ${id}, expected a whole number below ${this.#most}`);
    if (id >= this.#lengths.length) this.#grow(Math.max(id + 1, 2 * this.#lengths.length));
    if (this.#used + text.length > this.#bytes.length) {
      const grown = new Uint8Array(2 * (this.#used + text.length));
      grown.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = grown;
    }
    this.#bytes.set(text, this.#used);
    this.#starts[id] = this.#used + 1;
    this.#lengths[id] = text.length;
    this.#used += text.length;
    this.size = Math.max(this.size, id + 1);
  }

  pack(): PackedStrings {
    const offsets = new Uint32Array(this.size + 1);
    for (let id = 0; id < this.size; id++) offsets[id + 1] = offsets[id]! + this.#lengths[id]!;
    const bytes = new Uint8Array(offsets[this.size]!);
    for (let id = 0; id < this.size; id++) {
      const from = this.#starts[id]! - 1;
      if (from >= 0) bytes.set(this.#bytes.subarray(from, from + this.#lengths[id]!), offsets[id]!);
    }
    return new PackedStrings(bytes, offsets);
  }

  #grow(size: number): void {
    const starts = new Float64Array(size);
    starts.set(this.#starts);
    this.#starts = starts;
    const lengths = new Uint32Array(size);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
  }
}

function invalid(path: string, message: string): HundredweightError {
  return new HundredweightError("TOKENIZER_INVALID", `${path}: ${message}`);
}
