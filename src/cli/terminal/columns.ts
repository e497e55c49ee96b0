/**
 * The columns that text takes on a terminal: two for characters of East Asia and for emoji, none for marks that join
 * what stands before them.
 * @source Unicode Standard Annex 11, East Asian Width: classes W and F; UTS 51, emoji presentation
 */

/** Wide characters that are no emoji, in blocks as UAX 11 has them. */
const wideBlocks =
  "\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\u3247\u3250-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3" +
  "\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6" +
  "\u{16fe0}-\u{18d08}\u{1aff0}-\u{1b2fb}\u{1f200}-\u{1f265}\u{20000}-\u{3fffd}";
const wide = new RegExp(`[${wideBlocks}\\p{Emoji_Presentation}]|\\p{Emoji}\\ufe0f`, "u");
/** Vowels and finals of Hangul stand in the square of the consonant before them. */
const narrowest = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}\u1160-\u11ff]*$/u;
const plain = /^[\x20-\x7e]*$/;
/** Sequences of our own that set a colour; see colour.ts. */
const colours = /\x1b\[\d+m/g;

let segmenter: Intl.Segmenter | undefined;

/** The characters as a reader counts them, each with its marks. */
export function graphemes(text: string): string[] {
  if (plain.test(text)) return [...text];
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" });
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
}

export function hasWide(text: string): boolean {
  return !plain.test(text) && wide.test(text);
}

/** Columns of one line; colours of ours take none. */
export function columnsOf(text: string): number {
  const shown = text.includes("\x1b") ? text.replace(colours, "") : text;
  if (plain.test(shown)) return shown.length;
  let columns = 0;
  for (const one of graphemes(shown)) columns += wide.test(one) ? 2 : narrowest.test(one) ? 0 : 1;
  return columns;
}

export function padEnd(text: string, columns: number): string {
  return text + " ".repeat(Math.max(0, columns - columnsOf(text)));
}

export function padStart(text: string, columns: number): string {
  return " ".repeat(Math.max(0, columns - columnsOf(text))) + text;
}

const mark = "...";

/** Text without colours in at most so many columns: what is too long loses its end, or its beginning, to three dots. */
export function cut(text: string, columns: number, lose: "end" | "start" = "end"): string {
  if (columnsOf(text) <= columns) return text;
  const room = columns - mark.length;
  if (room <= 0) return mark.slice(0, Math.max(0, columns));
  const all = graphemes(text);
  if (lose === "start") all.reverse();
  let kept = 0;
  let used = 0;
  for (; kept < all.length; kept++) {
    used += columnsOf(all[kept]!);
    if (used > room) break;
  }
  const part = all.slice(0, kept);
  return lose === "end" ? `${part.join("")}${mark}` : `${mark}${part.reverse().join("")}`;
}
