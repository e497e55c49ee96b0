/**
 * Regular expressions over code points as terms that are made once each, so that two that are equal are the same
 * object. Beside the usual operators there are intersection, complement and counted repetition, which is never
 * unfolded: the derivative of x{m,n} is that of x followed by x{m-1,n-1}.
 * @source Brzozowski, Derivatives of Regular Expressions; Owens, Reppy and Turon, Regular-expression derivatives
 * re-examined
 */
import { HundredweightError } from "../../../errors.js";
import { type CodePoints, contains, everyCodePoint, intersect, union } from "./code-points.js";

export type TermKind = "empty" | "epsilon" | "class" | "concat" | "alt" | "and" | "not" | "repeat" | "mark" | "machine";

/** A deterministic automaton as a term: what arithmetic needs and no expression says shortly. */
export interface Machine {
  /** Names the automaton and its state. */
  readonly key: string;
  readonly accepts: boolean;
  /** Code points at which behaviour may change, ascending. */
  readonly borders: readonly number[];
  next(point: number): Machine | undefined;
}

export interface Term {
  readonly id: number;
  readonly kind: TermKind;
  /** Whether the empty text matches. */
  readonly nullable: boolean;
  /**
   * Whether intersections, complements or machines are inside: only then can a term other than `empty` match nothing.
   */
  readonly hard: boolean;
  /** Whether marks are inside. */
  readonly marked: boolean;
  readonly parts: readonly Term[];
  readonly set: CodePoints;
  /** The bounds of a repetition; `least` holds the number of a mark. */
  readonly least: number;
  readonly most: number;
  readonly machine: Machine | undefined;
  /** First code points of the classes in which all derivatives are the same, ascending from 0; made when asked for. */
  starts: readonly number[] | undefined;
  /** Derivatives by class; made when asked for. */
  nexts: (Term | undefined)[] | undefined;
  /** 1 = matches something, 0 = nothing; undefined = not known yet. */
  alive: boolean | undefined;
  /** See measure.ts. */
  free: number | undefined;
}

const none: readonly Term[] = [];
const noSet: CodePoints = [];

/** Counts what was made for a grammar, where several have the same terms. */
export class Account {
  terms = 0;
  /** States of lexemes. */
  states = 0;
  private readonly mostTerms: number;

  /** @param mostTerms one more is OPTION_INVALID */
  constructor(mostTerms = 400_000) {
    this.mostTerms = mostTerms;
  }

  /** @throws OPTION_INVALID */
  payTerm(): void {
    if (++this.terms <= this.mostTerms) return;
    throw new HundredweightError(
      "OPTION_INVALID",
      `constraint: needs more than ${this.mostTerms} states; make its patterns simpler`,
    );
  }
}

/** Terms of one grammar, or of several that are in use together. */
export class Terms {
  readonly empty: Term;
  readonly epsilon: Term;
  /** One character of any kind. */
  readonly any: Term;
  /** Any text. */
  readonly all: Term;
  /** The account that pays for the terms that are made. */
  account: Account;
  private readonly known = new Map<string, Term>();

  constructor(account: Account = new Account()) {
    this.account = account;
    this.empty = this.make("empty", "0", { nullable: false });
    this.epsilon = this.make("epsilon", "1", { nullable: true });
    this.any = this.class(everyCodePoint);
    this.all = this.repeat(this.any, 0, Infinity);
  }

  get size(): number {
    return this.known.size;
  }

  class(set: CodePoints): Term {
    return set.length === 0 ? this.empty : this.make("class", `c${set.join(",")}`, { nullable: false, set });
  }

  /** Exactly this text. */
  literal(text: string): Term {
    return this.sequence(Array.from(text, (c) => this.class([c.codePointAt(0)!, c.codePointAt(0)!])));
  }

  sequence(parts: readonly Term[]): Term {
    return parts.reduceRight((rest, part) => this.concat(part, rest), this.epsilon);
  }

  concat(a: Term, b: Term): Term {
    if (a === this.empty || b === this.empty) return this.empty;
    if (a === this.epsilon) return b;
    if (b === this.epsilon) return a;
    if (a.kind === "concat") return this.concat(a.parts[0]!, this.concat(a.parts[1]!, b));
    // Any text, twice.
    if (a === this.all && (b === this.all || (b.kind === "concat" && b.parts[0] === this.all))) return b;
    const nullable = a.nullable && b.nullable;
    return this.make("concat", `.${a.id},${b.id}`, { nullable, parts: [a, b] });
  }

  alt(terms: readonly Term[]): Term {
    const parts = new Set<Term>();
    let set: CodePoints = noSet;
    const add = (term: Term): void => {
      if (term.kind === "alt") for (const part of term.parts) add(part);
      else if (term.kind === "class") set = set.length === 0 ? term.set : union(set, term.set);
      else if (term !== this.empty) parts.add(term);
    };
    for (const term of terms) add(term);
    if (set.length > 0) parts.add(this.class(set));
    if (parts.has(this.all)) for (const part of parts) if (!part.marked && part !== this.all) parts.delete(part);
    if (parts.has(this.epsilon)) {
      for (const part of parts) if (part !== this.epsilon && part.nullable && !part.marked) parts.delete(this.epsilon);
    }
    return this.ofSet("alt", parts, this.empty);
  }

  and(terms: readonly Term[]): Term {
    const parts = new Set<Term>();
    let set: CodePoints | undefined;
    const add = (term: Term): void => {
      if (term.kind === "and") for (const part of term.parts) add(part);
      else if (term.kind === "class") set = set === undefined ? term.set : intersect(set, term.set);
      else if (term !== this.all) parts.add(term);
    };
    for (const term of terms) add(term);
    if (set !== undefined) parts.add(this.class(set));
    this.mergeRepeats(parts);
    if (parts.has(this.empty)) return this.empty;
    for (const part of parts) if (part.kind === "not" && parts.has(part.parts[0]!)) return this.empty;
    if (parts.has(this.epsilon)) return [...parts].every((part) => part.nullable) ? this.epsilon : this.empty;
    return this.ofSet("and", parts, this.all);
  }

  /** Texts of the same characters in two lengths are texts in the lengths that both have. */
  private mergeRepeats(parts: Set<Term>): void {
    const merged = new Map<Term, Term>();
    for (const part of [...parts]) {
      const item = part.kind === "repeat" ? part.parts[0]! : undefined;
      if (item?.kind !== "class") continue;
      const other = merged.get(item) ?? part;
      parts.delete(part);
      merged.set(item, this.repeat(item, Math.max(part.least, other.least), Math.min(part.most, other.most)));
    }
    for (const term of merged.values()) parts.add(term);
  }

  not(term: Term): Term {
    if (term.kind === "not") return term.parts[0]!;
    if (term === this.empty) return this.all;
    if (term === this.all) return this.empty;
    return this.make("not", `!${term.id}`, { nullable: !term.nullable, parts: [term], hard: true });
  }

  /** `a` without what `b` matches. */
  minus(a: Term, b: Term): Term {
    return this.and([a, this.not(b)]);
  }

  /** @param most Infinity = any number */
  repeat(term: Term, least: number, most: number): Term {
    if (most < least || term === this.empty) return least === 0 ? this.epsilon : this.empty;
    if (most === 0 || term === this.epsilon) return this.epsilon;
    const from = term.nullable ? 0 : least;
    if (from === 1 && most === 1) return term;
    if (term.kind === "repeat" && term.most === Infinity && term.least <= 1 && most === Infinity && from <= 1)
      return this.repeat(term.parts[0]!, term.least * from, Infinity);
    const nullable = from === 0;
    return this.make("repeat", `r${term.id},${from},${most}`, { nullable, parts: [term], least: from, most });
  }

  optional(term: Term): Term {
    return this.repeat(term, 0, 1);
  }

  /** Matches the empty text, and tells who looks at the end which alternative it was. */
  mark(number: number): Term {
    return this.make("mark", `m${number}`, { nullable: true, marked: true, least: number });
  }

  machine(machine: Machine): Term {
    return this.make("machine", `a${machine.key}`, { nullable: machine.accepts, machine, hard: true });
  }

  /** The term of what may follow when a text begins with `point`. */
  derive(term: Term, point: number): Term {
    if (term.kind === "empty" || term.kind === "epsilon" || term.kind === "mark") return this.empty;
    return this.deriveClass(term, this.classOf(term, point));
  }

  /** The number of the class of a code point (see `starts`). */
  classOf(term: Term, point: number): number {
    const starts = this.starts(term);
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= point) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The derivative in the class with this number (see `starts`). */
  deriveClass(term: Term, index: number): Term {
    term.nexts ??= [];
    const known = term.nexts[index];
    if (known !== undefined) return known;
    const made = this.makeDerivative(term, this.starts(term)[index]!);
    term.nexts[index] = made;
    return made;
  }

  /** First code points of classes in which all derivatives are the same. */
  starts(term: Term): readonly number[] {
    term.starts ??= this.makeStarts(term);
    return term.starts;
  }

  /** Numbers of the marks at which a text may end here, ascending. */
  marks(term: Term): readonly number[] {
    const found = new Set<number>();
    const visit = (t: Term): void => {
      if (!t.marked || !t.nullable) return;
      if (t.kind === "mark") found.add(t.least);
      else for (const part of t.parts) visit(part);
    };
    visit(term);
    return [...found].sort((a, b) => a - b);
  }

  private makeDerivative(term: Term, point: number): Term {
    const { parts } = term;
    switch (term.kind) {
      case "class":
        return contains(term.set, point) ? this.epsilon : this.empty;
      case "concat": {
        const [a, b] = [parts[0]!, parts[1]!];
        const first = this.concat(this.derive(a, point), b);
        return a.nullable ? this.alt([first, this.derive(b, point)]) : first;
      }
      case "alt":
        return this.alt(parts.map((part) => this.derive(part, point)));
      case "and":
        return this.and(parts.map((part) => this.derive(part, point)));
      case "not":
        return this.not(this.derive(parts[0]!, point));
      case "repeat": {
        const rest = this.repeat(parts[0]!, Math.max(0, term.least - 1), term.most - 1);
        return this.concat(this.derive(parts[0]!, point), rest);
      }
      case "machine": {
        const next = term.machine!.next(point);
        return next === undefined ? this.empty : this.machine(next);
      }
      default:
        return this.empty;
    }
  }

  private makeStarts(term: Term): readonly number[] {
    const { parts } = term;
    switch (term.kind) {
      case "class":
        return startsOfSet(term.set);
      case "concat":
        return parts[0]!.nullable ? this.merged(parts) : this.starts(parts[0]!);
      case "machine":
        return [...new Set([0, ...term.machine!.borders])].sort((a, b) => a - b);
      default:
        return parts.length === 1 ? this.starts(parts[0]!) : this.merged(parts);
    }
  }

  private merged(parts: readonly Term[]): readonly number[] {
    const all = new Set<number>([0]);
    for (const part of parts) for (const start of this.starts(part)) all.add(start);
    return [...all].sort((a, b) => a - b);
  }

  private ofSet(kind: "alt" | "and", set: ReadonlySet<Term>, nothing: Term): Term {
    if (set.size === 0) return nothing;
    const parts = [...set].sort((a, b) => a.id - b.id);
    if (parts.length === 1) return parts[0]!;
    const nullable = kind === "alt" ? parts.some((p) => p.nullable) : parts.every((p) => p.nullable);
    const key = `${kind === "alt" ? "|" : "&"}${parts.map((p) => p.id).join(",")}`;
    return this.make(kind, key, { nullable, parts, ...(kind === "and" && { hard: true }) });
  }

  private make(kind: TermKind, key: string, about: Partial<Term> & { readonly nullable: boolean }): Term {
    const known = this.known.get(key);
    if (known !== undefined) return known;
    this.account.payTerm();
    const { parts = none } = about;
    const term: Term = {
      id: this.known.size,
      kind,
      hard: about.hard ?? parts.some((part) => part.hard),
      marked: about.marked ?? parts.some((part) => part.marked),
      nullable: about.nullable,
      parts,
      set: about.set ?? noSet,
      least: about.least ?? 0,
      most: about.most ?? 0,
      machine: about.machine,
      starts: undefined,
      nexts: undefined,
      alive: undefined,
      free: undefined,
    };
    this.known.set(key, term);
    return term;
  }
}

function startsOfSet(set: CodePoints): readonly number[] {
  const out = [0];
  for (let i = 0; i < set.length; i += 2) {
    if (set[i] !== 0) out.push(set[i]!);
    out.push(set[i + 1]! + 1);
  }
  return out;
}
