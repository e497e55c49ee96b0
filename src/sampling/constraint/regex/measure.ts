/**
 * Measures that are found of a term without walking through all it matches: whether anything, how long, how freely it
 * goes on.
 */
import { type CodePoints, intersect } from "./code-points.js";
import type { Term, Terms } from "./terms.js";

/** Derivatives looked at before a question is given up. */
const patience = 20_000;

/**
 * Whether a term matches any text. Decided by a search for an end where intersections or complements are inside; one
 * that finds none in bounded time says yes, so that nothing possible is ever forbidden.
 */
export function isAlive(terms: Terms, term: Term): boolean {
  if (term.alive !== undefined) return term.alive;
  if (term === terms.empty) return set(term, false);
  if (!term.hard || term.nullable) return set(term, true);
  if (term.kind === "concat") {
    return set(term, isAlive(terms, term.parts[0]!) && isAlive(terms, term.parts[1]!));
  }
  if (term.kind === "alt")
    return set(
      term,
      term.parts.some((part) => isAlive(terms, part)),
    );
  if (term.kind === "repeat") return set(term, isAlive(terms, term.parts[0]!));
  return search(terms, term);
}

function search(terms: Terms, start: Term): boolean {
  const seen = new Set<Term>([start]);
  const stack: { readonly term: Term; next: number }[] = [{ term: start, next: 0 }];
  while (stack.length > 0) {
    const top = stack[stack.length - 1]!;
    if (top.next >= terms.starts(top.term).length) {
      stack.pop();
      continue;
    }
    const to = terms.deriveClass(top.term, top.next++);
    if (to === terms.empty || seen.has(to) || to.alive === false) continue;
    if (to.nullable || to.alive === true || !to.hard) {
      to.alive = true;
      for (const { term } of stack) term.alive = true;
      return true;
    }
    seen.add(to);
    if (seen.size > patience) return set(start, true);
    stack.push({ term: to, next: 0 });
  }
  for (const term of seen) term.alive = false;
  return false;
}

function set(term: Term, alive: boolean): boolean {
  term.alive = alive;
  return alive;
}

/** Code points of the longest text a term may match; an upper bound, Infinity when nothing is known. */
export function longest(terms: Terms, term: Term): number {
  switch (term.kind) {
    case "empty":
    case "epsilon":
    case "mark":
      return 0;
    case "class":
      return 1;
    case "concat":
      return longest(terms, term.parts[0]!) + longest(terms, term.parts[1]!);
    case "alt":
      return Math.max(...term.parts.map((part) => longest(terms, part)));
    case "and":
      return Math.min(...term.parts.map((part) => longest(terms, part)));
    case "repeat": {
      const one = longest(terms, term.parts[0]!);
      return one === 0 ? 0 : one * term.most;
    }
    default:
      return Number.POSITIVE_INFINITY;
  }
}

/**
 * How many characters of `set` may come next, whatever they are, without ending in a place that leads nowhere; at most
 * `most`. What takes too long to find out counts as 0.
 */
export function freedom(terms: Terms, term: Term, set: CodePoints, most: number): number {
  if (term.free !== undefined) return Math.min(term.free, most);
  let left = 2_000;
  // Level by level: the first level at which some character leads nowhere is the answer.
  let level = new Set<Term>([term]);
  const seen = new Set<Term>(level);
  let depth = 0;
  levels: while (depth < most && level.size > 0) {
    const next = new Set<Term>();
    for (const from of level) {
      const starts = terms.starts(from);
      for (let i = 0; i < starts.length; i++) {
        const end = (starts[i + 1] ?? 0x110000) - 1;
        if (intersect([starts[i]!, end], set).length === 0) continue;
        const to = terms.deriveClass(from, i);
        if (!isAlive(terms, to)) break levels;
        if (to.free !== undefined && to.free >= most) continue;
        if (!seen.has(to)) next.add(to);
        seen.add(to);
        if (--left < 0) {
          depth = 0;
          break levels;
        }
      }
    }
    level = next;
    if (level.size === 0) {
      depth = most;
      break;
    }
    depth++;
  }
  term.free = depth;
  return depth;
}
