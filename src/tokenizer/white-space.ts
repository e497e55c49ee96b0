/** "whitespace" models: words between white space, lower-cased, each for itself; the white space goes. */
import { lowerCase } from "./bert-normalizer.js";
import { codePoints, encodedLength, encodeInto, symbols } from "./unicode.js";

/** Calls `take` with the UTF-8 of each word of well-formed text. */
export function forEachWord(text: Uint8Array, lowercase: boolean, take: (word: Uint8Array) => void): void {
  const { length, points, symbols: classes } = codePoints(text);
  // U+023A and U+023E take a byte more in lower case.
  const word = new Uint8Array(2 * text.length);
  let size = 0;
  for (let i = 0; i <= length; i++) {
    const symbol = i < length ? classes[i]! : symbols.whitespace;
    if (symbol === 0x20 || (symbol >= 9 && symbol <= 13)) {
      if (size > 0) take(word.subarray(0, size));
      size = 0;
      continue;
    }
    const codePoint = lowercase ? lowerCase(points[i]!) : points[i]!;
    if (encodedLength(codePoint) === 1) word[size++] = codePoint;
    else size = encodeInto(codePoint, word, size);
  }
}
