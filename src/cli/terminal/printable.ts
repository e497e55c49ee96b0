/**
 * Text of others on its way to people: names, metadata, paths and messages that quote them. What would move the cursor,
 * rename the window, hide or reorder what stands beside it is shown as an escape. What a model writes is another
 * matter: `forTerminal`.
 */

/**
 * Control characters (C0, DEL, C1), separators of lines and paragraphs, marks and overrides of direction, the byte
 * order mark and tags, which nobody sees.
 */
const hidden = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;

function escaped(character: string): string {
  const code = character.codePointAt(0)!.toString(16);
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
}

/** One line: line feeds and tabs are escaped as well. */
export function printable(text: string): string {
  return text.replace(hidden, escaped);
}

/** Several lines, made by us of parts that may be foreign: line feeds and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(hidden, (c) => (c === "\n" || c === "\t" ? c : escaped(c)));
}

/**
 * JSON as a terminal may show it; it means the same. Strings are the only place where such characters can be in JSON.
 */
export function printableJson(json: string): string {
  return json.replace(hidden, (character) => {
    const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  });
}

/**
 * Text of a model on a terminal: control characters other than tab and line feed are shown as U+FFFD, so that nothing a
 * model says, or somebody made it say, moves the cursor or renames the window. Marks of direction stay, right-to-left
 * text needs them. Files and pipes get the text as it is.
 */
export function forTerminal(text: string, isTerminal = process.stdout.isTTY): string {
  return isTerminal ? text.replace(/\r(?=\n)/g, "").replace(/(?![\t\n])\p{Cc}/gu, "\ufffd") : text;
}
