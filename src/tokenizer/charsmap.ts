/**
 * The table `precompiled_charsmap` of SentencePiece: texts and what they are replaced by before tokenizing.
 *
 * 4 bytes: size of the tree; the tree, a double array of 32-bit units as Darts-clone writes it; the replacements, each
 * ended by a NUL. A unit is: bits 0-7 the byte that leads to it, bit 8 a key ends here, bits 10-30 the distance to the
 * place of its children, 256-fold when bit 9 is set. The child by byte c of place p is unit p ^ c; where a key ends,
 * unit p is its value, marked by bit 31: where its replacement begins.
 *
 * @source darts-clone (double array), SentencePiece normalizer.cc (layout)
 */
import { invalid } from "./vocab.js";

const key = "tokenizer.ggml.precompiled_charsmap";
/** SentencePiece's own tables have up to 80,000 units. */
const maxUnits = 1 << 20;
/** Bytes of a key and of a replacement at most. U+FDFA becomes 33 bytes under NFKC, the longest there. */
const maxKey = 128;
const maxReplacement = 128;

export class Charsmap {
  readonly #units: Uint32Array;
  readonly #root: number;
  readonly replacements: Uint8Array;
  /** Set by `match`: `replacements[from, to)`. */
  from = 0;
  to = 0;

  /**
   * Every path is walked once here, so `match` needs no checks: all of it lies inside, nothing leads back to itself,
   * keys and replacements have bounded length.
   * @throws TOKENIZER_INVALID
   */
  constructor(bytes: Uint8Array) {
    const size = bytes.length >= 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : 0;
    if (size + 4 >= bytes.length) {
      throw invalid(`${key} has ${bytes.length} bytes; its tree alone takes ${size} behind the first 4`);
    }
    const count = Math.floor(size / 4);
    if (count > maxUnits) throw invalid(`${key}: a tree of ${count} units, at most ${maxUnits} are possible`);
    const view = new DataView(bytes.buffer, bytes.byteOffset + 4, 4 * count);
    this.#units = Uint32Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
    this.replacements = bytes.slice(4 + size);
    this.#root = count > 0 ? distance(this.#units[0]!) : 0;
    if (count > 0) this.#check();
  }

  /** Bytes of the longest key that `text` has at `at`, or of the first; or 0. `from` and `to` are its replacement. */
  match(text: Uint8Array, at: number, which: "longest" | "first" = "longest"): number {
    const units = this.#units;
    let place = this.#root;
    let length = 0;
    let value = 0;
    for (let i = at; i < text.length; i++) {
      const byte = text[i]!;
      const unit = units[place ^ byte] ?? 0;
      // No key contains a NUL: unit `place` itself is a value.
      if (byte === 0 || !isChild(unit, byte)) break;
      place ^= byte ^ distance(unit);
      if ((unit & keyEnds) === 0) continue;
      length = i + 1 - at;
      value = units[place]! & 0x7fffffff;
      if (which === "first") break;
    }
    if (length === 0) return 0;
    this.from = value;
    this.to = this.replacements.indexOf(0, value);
    return length;
  }

  #check(): void {
    const units = this.#units;
    // By place: bytes of the longest key that goes on from it, 0 = not seen yet (else + 1), or on the way to it.
    const onTheWay = 255;
    const heights = new Uint8Array(units.length);
    const places = [this.#root];
    const nextBytes = [1];
    this.#inside(this.#root);
    heights[this.#root] = onTheWay;
    while (places.length > 0) {
      const top = places.length - 1;
      const place = places[top]!;
      const byte = nextBytes[top]!;
      if (byte === 256) {
        places.pop();
        nextBytes.pop();
        let height = 1;
        for (let b = 1; b < 256; b++) {
          const unit = units[place ^ b] ?? 0;
          if (isChild(unit, b)) height = Math.max(height, heights[place ^ b ^ distance(unit)]! + 1);
        }
        if (height + places.length > maxKey) throw invalid(`${key}: a key of more than ${maxKey} bytes`);
        heights[place] = height;
        continue;
      }
      nextBytes[top] = byte + 1;
      const unit = units[place ^ byte] ?? 0;
      if (!isChild(unit, byte)) continue;
      const child = place ^ byte ^ distance(unit);
      this.#inside(child);
      if ((unit & keyEnds) !== 0) this.#checkReplacement(units[child]! & 0x7fffffff);
      if (heights[child] === onTheWay) throw invalid(`${key}: the tree leads back to itself at unit ${place ^ byte}`);
      if (heights[child] !== 0) {
        if (places.length + heights[child]! > maxKey) throw invalid(`${key}: a key of more than ${maxKey} bytes`);
        continue;
      }
      if (places.length === maxKey) throw invalid(`${key}: a key of more than ${maxKey} bytes`);
      heights[child] = onTheWay;
      places.push(child);
      nextBytes.push(1);
    }
  }

  #inside(place: number): void {
    const count = this.#units.length;
    if (place < 0 || place >= count) throw invalid(`${key}: the tree leads to unit ${place >>> 0} of ${count}`);
  }

  #checkReplacement(from: number): void {
    const end = this.replacements.subarray(from, from + maxReplacement + 1).indexOf(0);
    if (end < 0) {
      throw invalid(
        `${key}: the replacement at ${from} of ${this.replacements.length} has no end within ${maxReplacement} bytes`,
      );
    }
  }
}

const keyEnds = 0x100;

function isChild(unit: number, byte: number): boolean {
  return (unit & 0x800000ff) === byte;
}

/** The number that a unit's index is changed by (XOR) to get the place of its children. */
function distance(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
