/**
 * The keys of an object as one term, whichever of them are left: a tree by their characters, of which the parts that
 * are whole are made once. Of 300 keys each may be missing, and a term of all those that are left must not cost a look
 * at all of them each time.
 */
import type { Term, Terms } from "../regex/terms.js";

interface Branch {
  /** Characters on the way to it. */
  readonly label: string;
  /** Keys below it, by their place in the sorted order. */
  readonly from: number;
  readonly to: number;
  /** The key that ends here; -1 = none. */
  readonly key: number;
  readonly branches: readonly Branch[];
  /** The term when no key is missing. */
  whole: Term | undefined;
}

export class KeyTree {
  private readonly terms: Terms;
  /** Numbers of the keys, sorted by their characters. */
  private readonly order: readonly number[];
  private readonly root: Branch;

  constructor(terms: Terms, keys: readonly string[]) {
    this.terms = terms;
    const points = keys.map((key) => Array.from(key));
    this.order = [...keys.keys()].sort((a, b) => compare(points[a]!, points[b]!));
    this.root = this.branch(
      this.order.map((key) => points[key]!),
      0,
      keys.length,
      0,
      0,
    );
  }

  /** Each of the keys that are left, followed by the mark with its number. */
  term(left: (key: number) => boolean): Term {
    const counts = new Int32Array(this.order.length + 1);
    this.order.forEach((key, place) => {
      counts[place + 1] = counts[place]! + (left(key) ? 1 : 0);
    });
    return this.termOf(this.root, counts);
  }

  private termOf(branch: Branch, counts: Int32Array): Term {
    const { terms } = this;
    const count = counts[branch.to]! - counts[branch.from]!;
    if (count === 0) return terms.empty;
    const isWhole = count === branch.to - branch.from;
    if (isWhole && branch.whole !== undefined) return branch.whole;
    const parts = branch.branches.map((below) => this.termOf(below, counts));
    // A key that ends here is the first of those below.
    if (branch.key >= 0 && counts[branch.from + 1]! > counts[branch.from]!) parts.push(terms.mark(branch.key));
    const term = terms.concat(terms.literal(branch.label), terms.alt(parts));
    if (isWhole) branch.whole = term;
    return term;
  }

  /**
   * Keys [from, to) of the sorted ones share their first `depth` characters, `begun` of which lead to the branch
   * above.
   */
  private branch(sorted: readonly string[][], from: number, to: number, begun: number, depth: number): Branch {
    let end = depth;
    const first = sorted[from] ?? [];
    const last = sorted[to - 1] ?? [];
    while (to - from > 0 && end < first.length && first[end] === last[end]) end++;
    const ends = to > from && first.length === end;
    const branches: Branch[] = [];
    for (let at = from + (ends ? 1 : 0); at < to; ) {
      let next = at + 1;
      while (next < to && sorted[next]![end] === sorted[at]![end]) next++;
      branches.push(this.branch(sorted, at, next, end, end));
      at = next;
    }
    const key = ends ? this.order[from]! : -1;
    return { label: first.slice(begun, end).join(""), from, to, key, branches, whole: undefined };
  }
}

function compare(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = a[i]!.codePointAt(0)! - b[i]!.codePointAt(0)!;
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
