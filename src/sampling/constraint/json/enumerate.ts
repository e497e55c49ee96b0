/** The texts a term matches, where they are few. */
import { isAlive, longest } from "../regex/measure.js";
import type { Term, Terms } from "../regex/terms.js";

/** @returns undefined when there are more than `most`, or some are very long */
export function enumerate(terms: Terms, term: Term, most: number): string[] | undefined {
  const found: string[] = [];
  const visit = (at: Term, prefix: string): boolean => {
    if (at.nullable) found.push(prefix);
    if (found.length > most || prefix.length > 1000) return false;
    if (longest(terms, at) === 0) return true;
    const starts = terms.starts(at);
    for (let i = 0; i < starts.length; i++) {
      const to = terms.deriveClass(at, i);
      if (!isAlive(terms, to)) continue;
      const end = (starts[i + 1] ?? 0x110000) - 1;
      if (end - starts[i]! >= most) return false;
      for (let point = starts[i]!; point <= end; point++) {
        if (!visit(to, prefix + String.fromCodePoint(point))) return false;
      }
    }
    return true;
  };
  return visit(term, "") ? found : undefined;
}
