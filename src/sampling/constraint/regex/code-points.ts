/**
 * Sets of Unicode code points as sorted, disjoint, inclusive ranges: [from, to, from, to ...]. Surrogates are no
 * characters and belong to no set.
 */

export type CodePoints = readonly number[];

/** The largest code point. */
export const lastCodePoint = 0x10ffff;

/** Every character there is. */
export const everyCodePoint: CodePoints = [0, 0xd7ff, 0xe000, lastCodePoint];

/** Ranges in any order, overlapping or not, made regular; surrogates fall out. */
export function codePointsOf(ranges: readonly (readonly [from: number, to: number])[]): CodePoints {
  const sorted = ranges.filter(([from, to]) => from <= to).sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [from, to] of sorted) {
    const last = out.length - 1;
    if (last > 0 && from <= out[last]! + 1) out[last] = Math.max(out[last]!, to);
    else out.push(from, to);
  }
  return intersect(out, everyCodePoint);
}

export function union(a: CodePoints, b: CodePoints): CodePoints {
  return codePointsOf([...pairs(a), ...pairs(b)]);
}

export function intersect(a: CodePoints, b: CodePoints): CodePoints {
  const out: number[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const from = Math.max(a[i]!, b[j]!);
    const to = Math.min(a[i + 1]!, b[j + 1]!);
    if (from <= to) out.push(from, to);
    if (a[i + 1]! < b[j + 1]!) i += 2;
    else j += 2;
  }
  return out;
}

/** All characters that are not in the set. */
export function complement(a: CodePoints): CodePoints {
  const out: number[] = [];
  let next = 0;
  for (let i = 0; i < a.length; i += 2) {
    if (a[i]! > next) out.push(next, a[i]! - 1);
    next = a[i + 1]! + 1;
  }
  if (next <= lastCodePoint) out.push(next, lastCodePoint);
  return intersect(out, everyCodePoint);
}

export function contains(set: CodePoints, point: number): boolean {
  let low = 0;
  let high = set.length >> 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (set[2 * middle + 1]! < point) low = middle + 1;
    else high = middle;
  }
  return 2 * low < set.length && set[2 * low]! <= point;
}

/**
 * A set with both cases of its letters, as the flag `i` of a pattern means: simple case mappings of one character to
 * one.
 */
export function ignoreCase(set: CodePoints): CodePoints {
  const more: [number, number][] = pairs(set);
  const all = pairs(set);
  for (const [from, to] of all) {
    // Wide ranges hold both cases of what is in them, or are no letters.
    if (to - from > 0x3000) continue;
    for (let point = from; point <= to; point++) {
      const text = String.fromCodePoint(point);
      for (const other of [text.toLowerCase(), text.toUpperCase()]) {
        const mapped = other.codePointAt(0)!;
        if (mapped !== point && other.length === (mapped > 0xffff ? 2 : 1)) more.push([mapped, mapped]);
      }
    }
  }
  return codePointsOf(more);
}

export function pairs(set: CodePoints): [number, number][] {
  return Array.from({ length: set.length >> 1 }, (_, i) => [set[2 * i]!, set[2 * i + 1]!]);
}
