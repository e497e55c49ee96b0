/** One row of a layout of several planes, value by value: the plain twin of native/kernels/scalar_units.cc. */
import { HundredweightError } from "../errors.js";
import { e2m1Values } from "./codebooks.js";
import { f16Table, fromBf16, readU16 } from "./float16.js";
import { cellsOf, type Form, type Layout, type PlaneLayout } from "./layouts.js";

/** Entries of bitsandbytes' code books as its quantizer writes them, in f32. */
export const nf4Values = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
);
const fp4Twelfths = [0, 0.0625, 8, 12, 4, 6, 2, 3];
export const fp4Values = Float32Array.from([...fp4Twelfths, ...fp4Twelfths.map((n) => -n)], (n) => n / 12);

let halvesOfOneByte: Float32Array | undefined;

/** E4M3 and E5M2 by code; E4M3 has no infinities, and one NaN of each sign. */
export const fp8Values = {
  e4m3: Float32Array.from({ length: 256 }, (_, code) => {
    const [sign, exponent, mantissa] = [code & 128 ? -1 : 1, (code >> 3) & 15, code & 7];
    if (exponent === 15 && mantissa === 7) return Number.NaN;
    return sign * (exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10));
  }),
  get e5m2() {
    // Made once, and not before it is asked for: a row's decoder asks for every row.
    halvesOfOneByte ??= f16Table().filter((_, half) => (half & 255) === 0);
    return halvesOfOneByte;
  },
};

/** Output row 8 c + j of AWQ is in this nibble of word c. */
export const awqNibble = [0, 4, 1, 5, 2, 6, 3, 7];

const u32 = (bytes: Uint8Array, at: number) => readU16(bytes, at) + 65536 * readU16(bytes, at + 2);
const f32 = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer, bytes.byteOffset).getFloat32(at, true);

/** Bits [at, at + count) of bytes, low bits first. */
function bitsAt(bytes: Uint8Array, at: number, count: number): number {
  const from = at >> 3;
  return (((bytes[from]! | ((bytes[from + 1] ?? 0) << 8)) >> (at & 7)) & (2 ** count - 1)) >>> 0;
}

/**
 * The stored slices of a matrix of which a row is decoded.
 * @field rows rows of the slices, the first of which is row `first` of the matrix
 */
export interface StoredRows {
  readonly layout: Layout;
  readonly stored: readonly Uint8Array[];
  readonly rows: number;
  readonly first: number;
  readonly cols: number;
}

/** Bytes before the cell that holds the plane's share of a row and an input. */
function cellAt({ layout, rows, first, cols }: StoredRows, plane: PlaneLayout, row: number, input: number): number {
  if (plane.flat) return Math.floor(((first + row) * cols + input) / plane.cols) * plane.bytes;
  const down =
    plane.rows === 0 ? 0 : Math.floor((plane.whole && layout.order === "rows" ? first + row : row) / plane.rows);
  const across = plane.cols === 0 ? 0 : Math.floor(input / plane.cols);
  const wide = Math.ceil(cellsOf(cols, plane.cols));
  return (
    plane.bytes *
    (layout.order === "rows" ? down * wide + across : across * Math.ceil(cellsOf(rows, plane.rows)) + down)
  );
}

function codeOf(from: StoredRows, form: Form, row: number, input: number): number {
  const { layout, stored, rows } = from;
  const [plane] = layout.planes;
  const bytes = stored[0]!;
  const { bits } = form;
  if (form.packing === "awq") return bitsAt(bytes, 8 * cellAt(from, plane!, row, input) + 4 * awqNibble[row & 7]!, 4);
  if (form.packing === "high-first") {
    const pair = bytes[cellAt(from, plane!, row, input)]!;
    return input % 2 === 0 ? pair >> 4 : pair & 15;
  }
  if (layout.order === "rows" || bits === 8) {
    const inputs = plane!.cols;
    return bitsAt(bytes, 8 * cellAt(from, plane!, row, input) + bits * (input % inputs), bits);
  }
  // `bits` words hold 32 inputs of a row, each of them `rows` words behind the one before.
  if (bits !== 3) {
    const at = bits * (input % 32);
    const word = (Math.floor(input / 32) * bits + (at >> 5)) * rows + row;
    return (bytes[4 * word + ((at & 31) >> 3)]! >> (at & 7)) & (2 ** bits - 1);
  }
  let code = 0;
  for (let bit = 0; bit < bits; bit++) {
    const at = bits * (input % 32) + bit;
    const word = (Math.floor(input / 32) * bits + (at >> 5)) * rows + row;
    code |= ((bytes[4 * word + ((at & 31) >> 3)]! >> (at & 7)) & 1) << bit;
  }
  return code;
}

/** The scale that a row has for an input. */
export function scaleOf(from: StoredRows, form: Form, row: number, input: number): number {
  const { layout, stored } = from;
  const at = cellAt(from, layout.planes[1]!, row, input);
  const bytes = stored[1]!;
  switch (form.scales) {
    case "f32":
      return Math.fround(f32(bytes, at) * form.factor);
    case "f16":
      return f16Table()[readU16(bytes, at)]!;
    case "bf16":
      return fromBf16(readU16(bytes, at));
    case "e8m0":
      return 2 ** (bytes[at]! - 128);
    case "nested": {
      const entry = f32(stored[3]!, 4 * bytes[at]!);
      const scale = f32(stored[2]!, cellAt(from, layout.planes[2]!, row, input));
      return Math.fround(Math.fround(entry * scale) + form.factor);
    }
  }
}

/** The number that is subtracted from its code. */
export function offsetOf(from: StoredRows, form: Form, row: number, input: number): number {
  if (form.offsets === "constant") return form.addend;
  const plane = from.layout.planes[2]!;
  const bytes = from.stored[2]!;
  const { bits } = form;
  const at = 8 * cellAt(from, plane, row, input);
  const group = from.layout.planes[1]!.cols;
  const stored =
    form.offsets === "groups"
      ? bitsAt(bytes, at + (group === 0 ? 0 : (Math.floor(input / group) * bits) % 8), bits)
      : form.offsets === "awq"
        ? bitsAt(bytes, at + 4 * awqNibble[row & 7]!, 4)
        : bitsAt(bytes, at + bits * (row % plane.rows), bits);
  return (stored + form.addend) & (2 ** bits - 1);
}

/**
 * Row `row` of the stored ones.
 * @shape out [cols]
 * @throws MODEL_INVALID when the index names a group that is not there
 */
export function decodePlanes(from: StoredRows, row: number, out: Float32Array): void {
  const { layout, stored, cols } = from;
  const form = layout.form!;
  const group = layout.planes[1]!.cols;
  const groups = Math.ceil(cellsOf(cols, group));
  const indexPlane = layout.planes.findIndex(({ name }) => name === "index");
  const values =
    form.codes === "nf4"
      ? nf4Values
      : form.codes === "fp4"
        ? fp4Values
        : form.codes === "e4m3" || form.codes === "e5m2"
          ? fp8Values[form.codes]
          : form.codes === "e2m1"
            ? e2m1Values
            : undefined;
  // Of a group they are looked up once; of flat planes it is another place in each row.
  const steady = layout.planes[1]!.flat !== true;
  const scales = new Float64Array(steady ? groups : 0);
  const offsets = new Int32Array(steady ? groups : 0);
  const known = new Uint8Array(steady ? groups : 0);
  for (let i = 0; i < cols; i++) {
    let input = i;
    if (indexPlane >= 0) {
      const named = u32(stored[indexPlane]!, 4 * i);
      if (named >= groups)
        throw new HundredweightError(
          "MODEL_INVALID",
          `input ${i} is of group ${named} of ${groups}: the index is damaged`,
        );
      input = named * group;
    }
    const at = group === 0 ? 0 : Math.floor(input / group);
    if (steady && known[at] === 0) {
      scales[at] = scaleOf(from, form, row, input);
      offsets[at] = values === undefined ? offsetOf(from, form, row, input) : 0;
      known[at] = 1;
    }
    const scale = steady ? scales[at]! : scaleOf(from, form, row, input);
    const code = codeOf(from, form, row, i);
    if (values !== undefined) out[i] = scale * values[code]!;
    else {
      const offset = steady ? offsets[at]! : offsetOf(from, form, row, input);
      out[i] = scale * ((form.codes === "signed" ? (code << 24) >> 24 : code) - offset);
    }
  }
}
