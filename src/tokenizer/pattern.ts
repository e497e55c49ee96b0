/**
 * The part of regular expressions that pre-tokenizers use, matched on symbols (see unicode.ts). Why not RegExp: its
 * `\s` and `\p` differ from the tokenizers', and a long run of one class can cost it quadratic time or the stack.
 * Here the recursion depth is the length of the pattern, and a scan that failed is remembered, so a text costs time
 * proportional to its length for every pattern of the table.
 *
 * Syntax: literals, `\r \n \t`, `\s \S \d`, `\p{L|M|N|P|S|Han}`, `\p{Lu}` and `\p{Ll}` (llama.cpp's meaning: letters
 * but a-z, letters but A-Z), `\p{LnotHan}`, `[...]` and `[^...]` with ranges, `? * + {n} {n,m}`, `(?:a|b)`, `(?=c)`
 * and `(?!c)` of one class, `$`, alternatives. Groups may only be repeated by `?`. `\w+` stands for the one nested
 * repetition in use, `(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`.
 */
import { type CharClass, matched, type Node, parsePattern } from "./pattern-parse.js";
import type { CodePoints } from "./unicode.js";

/** Appends the ends of the pieces of `[from, to)` to `ends`; text between matches is a piece too. */
export type Splitter = (text: CodePoints, from: number, to: number, ends: number[]) => void;

export function compile(source: string): Splitter {
  const root = parsePattern(source);
  const options = root.kind === "choice" ? root.options : [root];
  const scans = collectScans(root);
  return (text, from, to, ends) => {
    for (const scan of scans) scan.failedFrom = scan.failedTo = -1;
    let piece = from;
    for (let at = from; at < to; ) {
      let end = -1;
      for (let o = 0; o < options.length && end < 0; o++) end = match(options[o]!, text, at, to);
      if (end <= at) {
        at++;
        continue;
      }
      if (at > piece) ends.push(at);
      ends.push(end);
      piece = at = end;
    }
    if (piece < to) ends.push(to);
  };
}

/**
 * End of the match at `at`, or -1. First alternative first, longest repetition first: what a backtracking engine does.
 */
function match(node: Node, text: CodePoints, at: number, to: number): number {
  switch (node.kind) {
    case "match":
      return at;
    case "choice":
      for (const option of node.options) {
        const end = match(option, text, at, to);
        if (end >= 0) return end;
      }
      return -1;
    case "look": {
      const holds = at < to && contains(node.of, text, at);
      return holds === node.wanted ? match(node.next, text, at, to) : -1;
    }
    case "words": {
      let end = -1;
      // A space joins two words only when a letter follows it; marks only follow letters or marks.
      while (at < to) {
        const letter = at + (end >= 0 && text.symbols[at] === 0x20 ? 1 : 0);
        if (letter >= to || !contains(node.letter, text, letter)) break;
        end = at = scan(node.mark, text, letter + 1, to);
      }
      return end >= 0 ? match(node.next, text, end, to) : -1;
    }
    case "end":
      return at === to ? match(node.next, text, at, to) : -1;
    case "class": {
      if (at >= node.failedFrom && at <= node.failedTo) return -1;
      const limit = node.max === Number.POSITIVE_INFINITY ? to : Math.min(to, at + node.max);
      const scanned = scan(node.of, text, at, limit);
      if (scanned - at < node.min) return -1;
      if (node.next === matched) return scanned;
      for (let end = scanned; end >= at + node.min; end--) {
        const result = match(node.next, text, end, to);
        if (result >= 0) return result;
      }
      if (node.max === Number.POSITIVE_INFINITY) {
        node.failedFrom = at;
        node.failedTo = scanned;
      }
      return -1;
    }
  }
}

function scan(of: CharClass, text: CodePoints, at: number, limit: number): number {
  if (of.ranges.length === 0) {
    const { table } = of;
    const { symbols } = text;
    while (at < limit && table[symbols[at]!] === 1) at++;
    return at;
  }
  while (at < limit && contains(of, text, at)) at++;
  return at;
}

function contains(of: CharClass, text: CodePoints, at: number): boolean {
  const symbol = text.symbols[at]!;
  if (of.ranges.length > 0 && symbol >= 0x80) {
    // Beyond ASCII and not white space: the ranges decide besides the class table.
    const cp = text.points[at]!;
    let inside = false;
    for (let i = 0; i < of.ranges.length && !inside; i += 2) inside = cp >= of.ranges[i]! && cp <= of.ranges[i + 1]!;
    if (inside) return !of.negated;
  }
  return of.table[symbol] === 1;
}

type Scan = Extract<Node, { kind: "class" }>;

function collectScans(root: Node): Scan[] {
  const seen = new Set<Node>();
  const pending: Node[] = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    if (node.kind === "choice") pending.push(...node.options);
    else if (node.kind !== "match") pending.push(node.next);
  }
  return [...seen].filter((n): n is Scan => n.kind === "class" && n.max === Number.POSITIVE_INFINITY);
}
