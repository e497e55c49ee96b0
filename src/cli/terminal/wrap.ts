/** Wraps prose at the edge of a terminal: the one function for help, errors, notes and advice. */
import { columnsOf, graphemes, hasWide } from "./columns.js";

/** Longer lines are hard to read, however wide the terminal. */
const mostColumns = 120;
/** Narrower ones hold no sentence; a terminal that says so is not believed. */
const leastColumns = 20;

/** Columns of prose on a stream: of a terminal its own; undefined in files and pipes, where lines stay whole. */
export function proseColumns(stream: { readonly isTTY?: boolean; readonly columns?: number }): number | undefined {
  if (stream.isTTY !== true) return undefined;
  return Math.min(mostColumns, Math.max(leastColumns, stream.columns || 80));
}

export interface WrapOptions {
  /** Spaces before every line but the first of a paragraph. */
  readonly hanging?: number;
}

/** A command in back quotes is one word, unless it is as long as a sentence. */
const longestCode = 40;
const words = new RegExp(`(?:[^\\s\`]*\`[^\`\\n]{1,${longestCode}}\`[^\\s\`]*)+|\\S+`, "gu");

/**
 * Each line of `text` in lines of at most `columns`; without a number as it is. What a line begins with stays. A word
 * that is longer than a line is not cut, it could be a path; text of East Asia, which has no spaces, is.
 */
export function wrap(text: string, columns: number | undefined, { hanging = 0 }: WrapOptions = {}): string {
  if (columns === undefined) return text;
  return text
    .split("\n")
    .map((line) => (columnsOf(line) <= columns ? line : wrapLine(line, columns, hanging)))
    .join("\n");
}

function wrapLine(line: string, columns: number, hanging: number): string {
  const indent = /^[ \t]*/.exec(line)![0];
  const next = indent + " ".repeat(hanging);
  const lines: string[] = [];
  let current = indent;
  let used = columnsOf(indent);
  let empty = true;
  const end = (): void => {
    lines.push(current);
    current = next;
    used = columnsOf(next);
    empty = true;
  };
  const add = (text: string, width: number): void => {
    current += text;
    used += width;
    empty = false;
  };
  for (const [word] of line.slice(indent.length).matchAll(words)) {
    const width = columnsOf(word);
    const anywhere = hasWide(word);
    if (!empty && used + 1 + (anywhere ? 2 : width) > columns) end();
    if (!empty) add(" ", 1);
    if (!anywhere) add(word, width);
    else
      for (const one of graphemes(word)) {
        const size = columnsOf(one);
        if (used + size > columns && !empty) end();
        add(one, size);
      }
  }
  if (!empty) lines.push(current);
  return lines.join("\n");
}
