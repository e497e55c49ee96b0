/**
 * The rows of a reference over some texts, for later comparisons without it. Of each scored token the likeliest so many
 * logits as the model made them, and the mass of all others together: 24 + 8 top bytes.
 *
 * Magic, u32 bytes of a JSON header (vocab, chunkTokens, top), then chunks: i32 tokens [chunkTokens], and for every
 * scored position f64 log-sum, f64 nll, f64 tail, i32 ids [top], f32 logits [top]; little-endian.
 *
 * KL is then that of the likeliest tokens and one that stands for the others. It misses what is moved among those, so
 * it is never more than the exact one; the same model still gets exactly 0.
 *
 * With `seed` in the header rows are draws (draws.ts): every position but a chunk's last has one, `top` is how many
 * draws, the ids are those that were drawn, and the likeliest id, as f64, stands in the place of the tail.
 */
import { closeSync, readSync, rmSync, writeSync } from "node:fs";
import { endianness } from "node:os";
import { HundredweightError } from "../errors.js";
import { loadAddon } from "../native/addon.js";
import { openOutputSync, openRegularSync } from "../regular-file.js";
import { replaceFileSync } from "../replace-file.js";
import { topLogprobs } from "../sampling/logprobs.js";
import { Rng } from "../sampling/rng.js";
import { type Divergence, nllOf, normalize, type ReferenceRow } from "./divergence.js";
import { DrawnRow, drawTokens } from "./draws.js";

const magic = "HWTLOGITS1\n";

export interface ReferenceShape {
  readonly vocab: number;
  readonly chunkTokens: number;
  /** Logits of a token that are kept, or how many tokens are drawn. */
  readonly top: number;
  /** Rows are draws: by this seed. */
  readonly seed?: number;
}

/** Positions of a chunk without a row, at its beginning. */
const unscored = (chunkTokens: number) => Math.floor(chunkTokens / 2);
const rowsOf = ({ chunkTokens, seed }: ReferenceShape) =>
  chunkTokens - 1 - (seed === undefined ? unscored(chunkTokens) : 0);
const chunkBytes = (shape: ReferenceShape) => 4 * shape.chunkTokens + rowsOf(shape) * rowBytes(shape.top);
const rowBytes = (top: number) => 24 + 8 * top;
const leastTail = 1e-12;
/** Draws of a row. */
export const mostDraws = 4096;

function refuseBigEndian(): void {
  if (endianness() === "BE")
    throw new HundredweightError("FORMAT_UNSUPPORTED", "stored logits are for little-endian machines");
}

export class ReferenceWriter {
  private readonly path: string;
  private readonly shape: ReferenceShape;
  private readonly part: string;
  private readonly rng: Rng;
  private readonly file: number;
  private readonly buffer: Uint8Array;
  private readonly view: DataView;
  private chunks: readonly Int32Array[] = [];
  private rows = 0;
  private at = 0;

  /** @throws FILE_IO */
  constructor(path: string, shape: ReferenceShape) {
    refuseBigEndian();
    this.path = path;
    this.shape = shape;
    this.part = `${path}.part`;
    this.file = openOutputSync(this.part);
    this.rng = new Rng(shape.seed ?? 0);
    this.buffer = new Uint8Array(chunkBytes(shape));
    this.view = new DataView(this.buffer.buffer);
    const header = Buffer.from(JSON.stringify(shape));
    this.write(
      Buffer.concat([
        Buffer.from(magic),
        Uint8Array.from(new Uint8Array(Uint32Array.of(header.length).buffer)),
        header,
      ]),
    );
  }

  /** The chunks whose rows come next. */
  begin(chunks: readonly Int32Array[]): void {
    this.chunks = chunks.map((chunk) => chunk.slice());
    this.rows = 0;
  }

  /** @throws FILE_IO, MODEL_INVALID for a logit that is not finite */
  row(logits: Float32Array, next: number): void {
    const { top, seed } = this.shape;
    const scored = rowsOf(this.shape);
    if (this.rows % scored === 0) {
      this.at = 0;
      for (const id of this.chunks[this.rows / scored]!) this.i32(id);
    }
    const own = normalize(logits);
    const sum = own.max + own.logSum;
    this.f64(sum);
    this.f64(nllOf(logits, next, own));
    let ids: readonly number[] | Int32Array;
    if (seed === undefined) {
      ids = topLogprobs(logits, next, top, loadAddon() ?? {}).top.map(({ id }) => id);
      this.f64(
        tailOf(
          ids.map((id) => logits[id]!),
          sum,
        ),
      );
    } else {
      ids = drawTokens(logits, sum, top, this.rng);
      this.f64(own.best);
    }
    for (const id of ids) this.i32(id);
    for (const id of ids) {
      this.view.setFloat32(this.at, logits[id]!, true);
      this.at += 4;
    }
    if (++this.rows % scored === 0) this.write(this.buffer);
  }

  /** @throws FILE_IO */
  end(): void {
    closeSync(this.file);
    replaceFileSync(this.part, this.path);
  }

  /** Leaves nothing behind. */
  abandon(): void {
    closeSync(this.file);
    rmSync(this.part, { force: true });
  }

  private i32(value: number): void {
    this.view.setInt32(this.at, value, true);
    this.at += 4;
  }

  private f64(value: number): void {
    this.view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  private write(bytes: Uint8Array): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.file, bytes, done, bytes.length - done);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      throw new HundredweightError("FILE_IO", `cannot write ${this.part}: ${code}`, { path: this.part }, { cause });
    }
  }
}

/** The mass of all tokens but these. */
function tailOf(logits: readonly number[] | Float32Array, logSum: number): number {
  let mass = 0;
  for (const value of logits) mass += Math.exp(value - logSum);
  return Math.max(0, 1 - mass);
}

export function isReferenceFile(begin: Uint8Array): boolean {
  return Buffer.from(begin.subarray(0, magic.length)).toString("latin1") === magic;
}

/** Reads the chunks in the order in which they were written. */
export class ReferenceReader {
  readonly path: string;
  readonly vocab: number;
  readonly shape: ReferenceShape;
  private readonly file: number;
  private readonly buffer: Uint8Array;
  private readonly view: DataView;
  private position: number;
  private chunks: readonly Int32Array[] = [];
  private rows = 0;
  private at = 0;
  private tails = 0;
  private all = 0;

  /** @throws FILE_*, FORMAT_INVALID */
  constructor(path: string) {
    refuseBigEndian();
    this.path = path;
    this.file = openRegularSync(path);
    try {
      const begin = new Uint8Array(magic.length + 4);
      if (readSync(this.file, begin, 0, begin.length, 0) < begin.length || !isReferenceFile(begin))
        throw this.invalid("it does not begin as such a file does");
      const length = new DataView(begin.buffer).getUint32(magic.length, true);
      if (length > 4096) throw this.invalid("its header is too long");
      const header = new Uint8Array(length);
      if (readSync(this.file, header, 0, length, begin.length) < length) throw this.invalid("it is cut short");
      this.shape = this.shapeOf(Buffer.from(header).toString("utf8"));
      this.position = begin.length + length;
      this.vocab = this.shape.vocab;
      this.buffer = new Uint8Array(chunkBytes(this.shape));
      this.view = new DataView(this.buffer.buffer);
    } catch (error) {
      closeSync(this.file);
      throw error;
    }
  }

  /** Mean mass of the tokens that are not told apart. */
  get meanTail(): number {
    return this.tails / Math.max(1, this.all);
  }

  /** The chunks whose rows are asked for next. */
  expect(chunks: readonly Int32Array[]): void {
    this.chunks = chunks.map((chunk) => chunk.slice());
    this.rows = 0;
  }

  /**
   * The next scored row.
   * @throws OPTION_INVALID for another text than it was made of, FORMAT_INVALID
   */
  next(): ReferenceRow {
    const { vocab, top, chunkTokens, seed } = this.shape;
    const scored = chunkTokens - 1 - unscored(chunkTokens);
    if (this.rows % scored === 0) {
      this.readChunk(this.chunks[this.rows / scored]!);
      // Draws are there of positions that nobody scores.
      if (seed !== undefined) this.at += unscored(chunkTokens) * rowBytes(top);
    }
    this.rows++;
    const [logSum, nll, tail] = [this.f64(), this.f64(), this.f64()];
    const ids = new Int32Array(top);
    const logits = new Float32Array(top);
    for (let i = 0; i < top; i++) ids[i] = this.view.getInt32(this.at + 4 * i, true);
    for (let i = 0; i < top; i++) logits[i] = this.view.getFloat32(this.at + 4 * (top + i), true);
    this.at += 8 * top;
    const sound = [logSum, nll, tail].every(Number.isFinite) && ids.every((id) => id >= 0 && id < vocab);
    if (!sound || !logits.every(Number.isFinite)) throw this.invalid("a row has values that no model makes");
    if (seed !== undefined) {
      if (!(Number.isInteger(tail) && tail >= 0 && tail < vocab)) throw this.invalid("a row has no likeliest token");
      return new DrawnRow(tail, ids, logits, logSum, nll);
    }
    this.tails += tail;
    this.all++;
    return new StoredRow(ids, logits, logSum, nll, tail);
  }

  close(): void {
    closeSync(this.file);
  }

  private readChunk(chunk: Int32Array): void {
    const { buffer } = this;
    for (let done = 0; done < buffer.length; ) {
      const read = readSync(this.file, buffer, done, buffer.length - done, this.position + done);
      if (read === 0)
        throw new HundredweightError(
          "OPTION_INVALID",
          `${this.path}: has no more chunks; take fewer, or its own texts`,
        );
      done += read;
    }
    this.position += buffer.length;
    this.at = 0;
    for (const id of chunk) {
      if (this.view.getInt32(this.at, true) !== id)
        throw new HundredweightError(
          "OPTION_INVALID",
          `${this.path}: was made of other texts, or by another tokenizer`,
        );
      this.at += 4;
    }
  }

  private shapeOf(text: string): ReferenceShape {
    try {
      const { vocab, chunkTokens, top, seed } = JSON.parse(text) as Partial<ReferenceShape>;
      const whole = (value: unknown, least: number, most: number): value is number =>
        Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
      const most = seed === undefined ? vocab : mostDraws;
      const seeded = seed === undefined || whole(seed, 0, 2 ** 53 - 1);
      if (whole(vocab, 1, 2 ** 24) && whole(chunkTokens, 4, 2 ** 16) && whole(top, 1, most ?? 0) && seeded)
        return { vocab, chunkTokens, top, ...(seed !== undefined && { seed }) };
    } catch {
      // Told below.
    }
    throw this.invalid("its header is not sound");
  }

  private f64(): number {
    this.at += 8;
    return this.view.getFloat64(this.at - 8, true);
  }

  private invalid(what: string): HundredweightError {
    return new HundredweightError("FORMAT_INVALID", `${this.path}: no stored logits: ${what}`);
  }
}

class StoredRow implements ReferenceRow {
  readonly nll: number;
  private readonly ids: Int32Array;
  private readonly logits: Float32Array;
  private readonly logSum: number;
  private readonly tail: number;

  constructor(ids: Int32Array, logits: Float32Array, logSum: number, nll: number, tail: number) {
    this.ids = ids;
    this.logits = logits;
    this.logSum = logSum;
    this.nll = nll;
    this.tail = tail;
  }

  compare(row: Float32Array, next: number): Divergence {
    const other = normalize(row);
    const sum = other.max + other.logSum;
    const shift = this.logSum - sum;
    const theirs = new Float32Array(this.ids.length);
    let kl = 0;
    for (let i = 0; i < theirs.length; i++) {
      const own = this.logits[i]!;
      theirs[i] = row[this.ids[i]!]!;
      kl += Math.exp(own - this.logSum) * (own - theirs[i]! - shift);
    }
    if (this.tail > leastTail) kl += this.tail * Math.log(this.tail / Math.max(leastTail, tailOf(theirs, sum)));
    return { kl, nll: nllOf(row, next, other), sameTop: other.best === this.ids[0] };
  }
}
