/**
 * The alphabet of byte-level BPE: every byte as a printable code point. 33-126, 161-172 and 174-255 stand for
 * themselves, the other 68 bytes in order are U+0100, U+0101 ... So a space is U+0120 and a newline U+010A.
 */
const codePointOf = new Uint16Array(256);
const byteOf = new Int16Array(0x144).fill(-1);
let next = 0x100;
for (let b = 0; b < 256; b++) {
  const printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  codePointOf[b] = printable ? b : next++;
  byteOf[codePointOf[b]!] = b;
}

/**
 * Writes the bytes that the vocabulary text `text[from, to)` stands for to `out` at `at`.
 * @returns how many, or -1 when the text is not written in the alphabet (special tokens may be)
 */
export function unmapInto(text: Uint8Array, from: number, to: number, out: Uint8Array, at: number): number {
  let n = at;
  for (let i = from; i < to; ) {
    const lead = text[i]!;
    let cp = lead;
    let size = 1;
    if (lead >= 0x80) {
      // The alphabet ends at U+0143, so it has no sequence of more than two bytes (leads 0xC2-0xC5).
      const second = i + 1 < to ? text[i + 1]! : 0;
      if (lead < 0xc2 || lead > 0xc5 || (second & 0xc0) !== 0x80) return -1;
      cp = ((lead & 0x1f) << 6) | (second & 0x3f);
      size = 2;
    }
    const byte = byteOf[cp] ?? -1;
    if (byte < 0) return -1;
    out[n++] = byte;
    i += size;
  }
  return n - at;
}

/**
 * The bytes that all texts of a vocabulary stand for: `unmapInto` in one loop, since a start waits for it.
 * @param offsets text `i` is `texts[offsets[i], offsets[i + 1])`
 * @param verbatim gets the numbers of the texts that are not written in the alphabet, which stay as they are
 */
export function unmapAll(
  texts: Uint8Array,
  offsets: Uint32Array,
  verbatim: Set<number>,
): { readonly bytes: Uint8Array; readonly offsets: Uint32Array } {
  const out = new Uint8Array(texts.length);
  const ends = new Uint32Array(offsets.length);
  let n = 0;
  for (let id = 0; id + 1 < offsets.length; id++) {
    const to = offsets[id + 1]!;
    const begin = n;
    for (let i = offsets[id]!; i < to; i++) {
      let cp = texts[i]!;
      if (cp >= 0x80) {
        const second = i + 1 < to ? texts[++i]! : 0;
        // Above the alphabet: no byte.
        cp = cp < 0xc2 || cp > 0xc5 || (second & 0xc0) !== 0x80 ? 0x143 + 1 : ((cp & 0x1f) << 6) | (second & 0x3f);
      }
      const byte = cp < byteOf.length ? byteOf[cp]! : -1;
      if (byte < 0) {
        verbatim.add(id);
        out.set(texts.subarray(offsets[id]!, to), begin);
        n = begin + to - offsets[id]!;
        break;
      }
      out[n++] = byte;
    }
    ends[id + 1] = n;
  }
  return { bytes: out.subarray(0, n), offsets: ends };
}

/** The bytes of a vocabulary text, or undefined when it is not written in the alphabet. */
export function unmapText(text: Uint8Array): Uint8Array | undefined {
  const out = new Uint8Array(text.length);
  const n = unmapInto(text, 0, text.length, out, 0);
  return n < 0 ? undefined : out.subarray(0, n);
}

/** Code point of the alphabet for a byte. */
export function mappedCodePoint(byte: number): number {
  return codePointOf[byte]!;
}

/** The vocabulary's text for bytes. */
export function mapBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => String.fromCharCode(codePointOf[b]!)).join("");
}
