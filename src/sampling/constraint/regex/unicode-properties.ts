/** Sets of characters by Unicode property, as this Node's own regular expressions know them. */
import { type CodePoints, codePointsOf, lastCodePoint } from "./code-points.js";

const known = new Map<string, CodePoints | undefined>();
/** Finding a set looks at every character: some 30 ms. */
const mostKnown = 64;

/** Short names of scripts and blocks that Rust and Python take without `Script=`. */
const candidatesOf = (name: string): readonly string[] => [name, `Script=${name}`];

/** @returns undefined when there is no such property */
export function propertySet(name: string): CodePoints | undefined {
  if (!/^[A-Za-z_]+(=[A-Za-z_]+)?$/.test(name)) return undefined;
  if (known.has(name)) return known.get(name);
  if (known.size >= mostKnown) known.clear();
  const pattern = patternOf(name);
  const set = pattern === undefined ? undefined : scan(pattern);
  known.set(name, set);
  return set;
}

function patternOf(name: string): RegExp | undefined {
  for (const candidate of candidatesOf(name)) {
    try {
      return new RegExp(`^\\p{${candidate}}$`, "u");
    } catch {
      // Not a property of this name: the next candidate.
    }
  }
  return undefined;
}

function scan(pattern: RegExp): CodePoints {
  const ranges: [number, number][] = [];
  let from = -1;
  for (let point = 0; point <= lastCodePoint; point++) {
    if (point >= 0xd800 && point <= 0xdfff) continue;
    const inside = pattern.test(String.fromCodePoint(point));
    if (inside && from < 0) from = point;
    else if (!inside && from >= 0) {
      ranges.push([from, point - 1]);
      from = -1;
    }
  }
  if (from >= 0) ranges.push([from, lastCodePoint]);
  return codePointsOf(ranges);
}
