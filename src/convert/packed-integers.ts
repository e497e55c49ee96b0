/**
 * Integers as GPTQ and AWQ keep them: codes packed in words of 32 bits, along inputs or along outputs.
 * @source AutoGPTQ/AutoGPTQ 9f7d370, nn_modules/qlinear/qlinear_cuda_old.py (pack); casper-hansen/AutoAWQ 88e4c76,
 *   utils/packing_utils.py
 */
import { awqNibble } from "../formats/decode-planes.js";
import { toF16 } from "../formats/float16.js";

/** Writes codes so that code i has bits [bits i, bits i + bits), low bits first, in words `stride` apart. */
function put(words: Uint32Array, first: number, stride: number, bits: number, i: number, code: number): void {
  const at = bits * i;
  const word = first + (at >>> 5) * stride;
  words[word]! |= code << (at & 31);
  if ((at & 31) + bits > 32) words[word + stride]! |= code >>> (32 - (at & 31));
}

/** GPTQ's three planes of a matrix, filled some rows at a time. */
export class GptqPlanes {
  /** [cols * bits / 32][rows] */
  readonly words: Uint32Array;
  /** [groups][rows * bits / 32] */
  readonly offsets: Uint32Array;
  /** [groups][rows], halves */
  readonly scales: Uint16Array;
  readonly #rows: number;
  readonly #cols: number;
  readonly #bits: number;
  /** Subtracted from offsets, which wrap around: 1 in the first version of the format. */
  readonly #less: number;

  constructor(rows: number, cols: number, groups: number, bits: number, less: 0 | 1) {
    [this.#rows, this.#cols, this.#bits, this.#less] = [rows, cols, bits, less];
    this.words = new Uint32Array((cols * bits * rows) / 32);
    this.offsets = new Uint32Array((groups * rows * bits) / 32);
    this.scales = new Uint16Array(groups * rows);
  }

  /** @shape codes [count][cols]; scales, offsets [count][groups] */
  add(first: number, codes: Uint8Array, scales: Float32Array, offsets: Uint8Array): void {
    const [rows, cols, bits] = [this.#rows, this.#cols, this.#bits];
    const count = codes.length / cols;
    const groups = scales.length / count;
    for (let r = 0; r < count; r++) {
      const row = first + r;
      if (32 % bits === 0) {
        const each = 32 / bits;
        for (let word = 0, at = r * cols; word < cols / each; word++) {
          let bitsOfWord = 0;
          for (let i = 0; i < each; i++) bitsOfWord |= codes[at++]! << (bits * i);
          this.words[word * rows + row] = bitsOfWord;
        }
      } else for (let i = 0; i < cols; i++) put(this.words, row, rows, bits, i, codes[r * cols + i]!);
      for (let g = 0; g < groups; g++) {
        const offset = (offsets[r * groups + g]! - this.#less) & (2 ** bits - 1);
        put(this.offsets, (g * rows * bits) / 32, 1, bits, row, offset);
        this.scales[g * rows + row] = toF16(scales[r * groups + g]!);
      }
    }
  }
}

/** AWQ's three planes: a word holds eight outputs of one input, in an order of its own. */
export class AwqPlanes {
  /** [cols][rows / 8] */
  readonly words: Uint32Array;
  /** [groups][rows / 8] */
  readonly offsets: Uint32Array;
  /** [groups][rows], halves */
  readonly scales: Uint16Array;
  readonly #rows: number;
  readonly #cols: number;

  constructor(rows: number, cols: number, groups: number) {
    [this.#rows, this.#cols] = [rows, cols];
    this.words = new Uint32Array((cols * rows) / 8);
    this.offsets = new Uint32Array((groups * rows) / 8);
    this.scales = new Uint16Array(groups * rows);
  }

  /** @shape codes [count][cols]; scales, offsets [count][groups] */
  add(first: number, codes: Uint8Array, scales: Float32Array, offsets: Uint8Array): void {
    const [wide, cols] = [this.#rows / 8, this.#cols];
    const count = codes.length / cols;
    const groups = scales.length / count;
    for (let r = 0; r < count; r++) {
      const [word, shift] = [(first + r) >> 3, 4 * awqNibble[(first + r) & 7]!];
      for (let i = 0; i < cols; i++) this.words[i * wide + word]! |= codes[r * cols + i]! << shift;
      for (let g = 0; g < groups; g++) {
        this.offsets[g * wide + word]! |= offsets[r * groups + g]! << shift;
        this.scales[g * this.#rows + first + r] = toF16(scales[r * groups + g]!);
      }
    }
  }
}
