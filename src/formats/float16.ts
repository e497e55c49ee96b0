/** Half precision and bfloat16 as bit patterns. */
const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);
let halves: Float32Array | undefined;

/** Every binary16 value by its 16 bits; 256 KiB, built at the first call. */
export function f16Table(): Float32Array {
  halves ??= buildHalves();
  return halves;
}

/** By bits, a millisecond: the exponent's bias goes from 15 to 127, subnormals are whole multiples of 2^-24. */
function buildHalves(): Float32Array {
  const table = new Float32Array(65536);
  const patterns = new Uint32Array(table.buffer);
  for (let h = 0; h < 0x400; h++) table[h] = h * 2 ** -24;
  for (let h = 0x400; h < 0x7c00; h++) patterns[h] = (h << 13) + (112 << 23);
  patterns[0x7c00] = 0x7f800000;
  patterns.fill(0x7fc00000, 0x7c01, 0x8000);
  for (let h = 0; h < 0x8000; h++) patterns[h + 0x8000] = patterns[h]! | 0x80000000;
  return table;
}

/** Round to nearest, ties to even; beyond 65520 infinity; subnormals kept; a NaN stays a (quiet) NaN. */
export function toF16(value: number): number {
  word[0] = value;
  const u = bits[0]!;
  const sign = (u >>> 16) & 0x8000;
  const magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: units of 2^-24. Scaling is exact, so one rounding to an integer remains.
    return sign | roundHalfEven(Math.abs(word[0]!) * 2 ** 24);
  }
  // Rebias the exponent (127 to 15) and round away 13 bits; a carry moves into the exponent as it should.
  const rebased = magnitude - 0x38000000;
  return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
}

export function toBf16(value: number): number {
  word[0] = value;
  const u = bits[0]!;
  if ((u & 0x7fffffff) > 0x7f800000) return ((u >>> 16) | 0x40) & 0xffff;
  return ((u + 0x7fff + ((u >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBf16(half: number): number {
  bits[0] = half << 16;
  return word[0]!;
}

/** For |value| below 2^51: the sum leaves no room for a fraction, so the addition itself rounds. */
export function roundHalfEven(value: number): number {
  const magic = 2 ** 52 + 2 ** 51;
  return value + magic - magic;
}

export function readU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}
