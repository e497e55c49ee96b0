/**
 * A grammar as points that lead to each other, for the automaton. Rules and bodies of loops are routines: a call
 * remembers where to go on. What can never be completed is left out, and rules that begin with themselves are refused.
 */
import { HundredweightError } from "../../../errors.js";
import { isAlive } from "../regex/measure.js";
import type { ArrayShape, EntriesShape, Grammar, Node, ObjectShape } from "./ir.js";
import type { Lexemes } from "./lexemes.js";

export type Point =
  | { readonly op: "return" }
  /** `state`: where the lexeme begins; -1 when it can only be empty. */
  | { readonly op: "lexeme"; readonly state: number; readonly nullable: boolean; readonly next: number }
  | { readonly op: "split"; readonly to: readonly number[] }
  | { readonly op: "call"; readonly routine: number; readonly next: number }
  | {
      readonly op: "loop";
      readonly routine: number;
      readonly least: number;
      readonly most: number;
      readonly next: number;
    }
  | { readonly op: "object"; readonly shape: ObjectShape; readonly next: number }
  | { readonly op: "array"; readonly shape: ArrayShape; readonly next: number }
  | { readonly op: "entries"; readonly shape: EntriesShape; readonly next: number }
  | { readonly op: "token"; readonly ids: ReadonlySet<number>; readonly except: boolean; readonly next: number };

export interface Routine {
  readonly start: number;
  /**
   * Whether it may match the empty text; the automaton steps over it then, and the routine itself never ends where it
   * began.
   */
  readonly nullable: boolean;
}

export interface Program {
  readonly points: readonly Point[];
  readonly routines: readonly Routine[];
  readonly root: number;
}

const mostPoints = 500_000;

/** @throws OPTION_INVALID when nothing matches, a rule begins with itself, or it is too large */
export function compileProgram(grammar: Grammar, lexemes: Lexemes): Program {
  return new Compiler(grammar, lexemes).compile();
}

class Compiler {
  private readonly points: Point[] = [{ op: "return" }];
  private readonly routines: { start: number; nullable: boolean; first: Set<number> }[] = [];
  private readonly nullable: boolean[];
  private readonly productive: boolean[];
  private readonly grammar: Grammar;
  private readonly lexemes: Lexemes;
  /** Routines that the routine being compiled may call before it has read anything. */
  private first = new Set<number>();

  constructor(grammar: Grammar, lexemes: Lexemes) {
    this.grammar = grammar;
    this.lexemes = lexemes;
    this.nullable = fixpoint(grammar.rules, (node, known) => this.isNullable(node, known));
    this.productive = fixpoint(grammar.rules, (node, known) => this.isProductive(node, known));
  }

  compile(): Program {
    const { rules, root } = this.grammar;
    if (this.productive[root] !== true) {
      throw new HundredweightError("OPTION_INVALID", "constraint: no text satisfies it");
    }
    rules.forEach((_, rule) => {
      this.routines.push({ start: 0, nullable: this.nullable[rule]!, first: new Set() });
    });
    rules.forEach((node, rule) => {
      if (this.productive[rule]) this.routines[rule]!.start = this.routine(node, this.routines[rule]!.first);
    });
    this.refuseLeftRecursion();
    return { points: this.points, routines: this.routines, root };
  }

  private routine(node: Node, first: Set<number>): number {
    const outer = this.first;
    this.first = first;
    const start = this.node(node, 0, true);
    this.first = outer;
    return start;
  }

  /** @param leads whether nothing was read before  @returns the point where it begins */
  private node(node: Node, next: number, leads: boolean): number {
    switch (node.kind) {
      case "lexeme": {
        const state = this.lexemes.start(node.encoding, node.term);
        const nullable = node.encoding !== "json" && node.term.nullable;
        return this.point({ op: "lexeme", state: this.lexemes.goesOn(state) ? state : -1, nullable, next });
      }
      case "sequence":
        return this.sequence(node.items, next, leads);
      case "choice": {
        const to = node.items.filter((item) => this.isProductive(item)).map((item) => this.node(item, next, leads));
        return to.length === 1 ? to[0]! : this.point({ op: "split", to });
      }
      case "rule":
        if (leads) this.first.add(node.rule);
        return this.point({ op: "call", routine: node.rule, next });
      case "repeat":
        return this.repeat(node, next, leads);
      case "object":
        return this.point({ op: "object", shape: this.prunedObject(node.object), next });
      case "array":
        return this.point({ op: "array", shape: this.prunedArray(node.array), next });
      case "entries":
        return this.entries(node.entries, next, leads);
      case "token":
        return this.point({ op: "token", ids: node.ids, except: node.except, next });
    }
  }

  private sequence(items: readonly Node[], next: number, leads: boolean): number {
    const leading = items.map((_, i) => leads && items.slice(0, i).every((item) => this.isNullable(item)));
    let to = next;
    for (let i = items.length - 1; i >= 0; i--) to = this.node(items[i]!, to, leading[i]!);
    return to;
  }

  private repeat({ item, least, most }: Node & { kind: "repeat" }, next: number, leads: boolean): number {
    if (most === 0 || !this.isProductive(item)) return next;
    if (least === 0 && most === 1) {
      return this.point({ op: "split", to: [this.node(item, next, leads), next] });
    }
    const nullable = this.isNullable(item);
    const first = new Set<number>();
    const routine = this.routines.length;
    this.routines.push({ start: 0, nullable, first });
    this.routines[routine]!.start = this.routine(item, first);
    if (leads) this.first.add(routine);
    // An empty turn may stand for any that is missing.
    return this.point({ op: "loop", routine, least: nullable ? 0 : least, most, next });
  }

  private entries(shape: EntriesShape, next: number, leads: boolean): number {
    const items = shape.items.filter(({ rule }) => this.productive[rule]);
    if (items.some(({ rule }) => this.nullable[rule])) {
      throw new HundredweightError("OPTION_INVALID", "constraint: an entry may be empty");
    }
    if (leads) for (const { rule } of items) this.first.add(rule);
    return this.point({ op: "entries", shape: { ...shape, items }, next });
  }

  private point(point: Point): number {
    if (this.points.length >= mostPoints) {
      throw new HundredweightError("OPTION_INVALID", `constraint: has more than ${mostPoints} places`);
    }
    this.points.push(point);
    return this.points.length - 1;
  }

  private isNullable(node: Node, known: readonly boolean[] = this.nullable): boolean {
    switch (node.kind) {
      case "lexeme":
        return node.encoding !== "json" && node.term.nullable;
      case "sequence":
        return node.items.every((item) => this.isNullable(item, known));
      case "choice":
        return node.items.some((item) => this.isNullable(item, known));
      case "repeat":
        return node.least === 0 || this.isNullable(node.item, known);
      case "rule":
        return known[node.rule] === true;
      case "entries":
        return node.entries.items.every(({ required }) => !required);
      default:
        return false;
    }
  }

  private isProductive(node: Node, known: readonly boolean[] = this.productive): boolean {
    switch (node.kind) {
      case "lexeme":
        return isAlive(this.lexemes.terms, node.term);
      case "sequence":
        return node.items.every((item) => this.isProductive(item, known));
      case "choice":
        return node.items.some((item) => this.isProductive(item, known));
      case "repeat":
        return node.least === 0 || this.isProductive(node.item, known);
      case "rule":
        return known[node.rule] === true;
      case "object":
        return objectIsProductive(node.object, known);
      case "array":
        return arrayIsProductive(node.array, known);
      case "entries":
        return node.entries.items.every(({ rule, required }) => !required || known[rule]);
      case "token":
        return node.except || node.ids.size > 0;
    }
  }

  private prunedObject(shape: ObjectShape): ObjectShape {
    const { productive } = this;
    const keys = shape.keys.map((key) => ({ ...key, ways: key.ways.filter(({ rule }) => productive[rule]) }));
    const regions = shape.regions
      .map((region) => ({ ...region, ways: region.ways.filter(({ rule }) => productive[rule]) }))
      .filter(({ ways, term }) => ways.length > 0 && isAlive(this.lexemes.terms, term));
    return { ...shape, keys: keys.filter(({ ways }) => ways.length > 0), regions };
  }

  private prunedArray(shape: ArrayShape): ArrayShape {
    const { productive } = this;
    const alive = (ways: ArrayShape["rest"]): ArrayShape["rest"] => ways.filter(({ rule }) => productive[rule]);
    const first = shape.first.map(alive);
    const rest = alive(shape.rest);
    const end = [...first, rest].findIndex((ways) => ways.length === 0);
    return { ...shape, first, rest, most: end < 0 || shape.once ? shape.most : Math.min(shape.most, end) };
  }

  private refuseLeftRecursion(): void {
    const state = new Uint8Array(this.routines.length);
    for (let from = 0; from < this.routines.length; from++) {
      if (state[from] !== 0) continue;
      const stack = [{ routine: from, left: [...this.routines[from]!.first] }];
      state[from] = 1;
      while (stack.length > 0) {
        const top = stack[stack.length - 1]!;
        const to = top.left.pop();
        if (to === undefined) {
          state[top.routine] = 2;
          stack.pop();
        } else if (state[to] === 1) {
          const name = this.grammar.names[to] ?? "a repetition";
          throw new HundredweightError("OPTION_INVALID", `constraint: ${name} begins with itself (left recursion)`);
        } else if (state[to] === 0) {
          state[to] = 1;
          stack.push({ routine: to, left: [...this.routines[to]!.first] });
        }
      }
    }
  }
}

function objectIsProductive(shape: ObjectShape, known: readonly boolean[]): boolean {
  const possible = (ways: readonly { readonly rule: number }[]): boolean => ways.some(({ rule }) => known[rule]);
  const keys = shape.keys.filter(({ ways }) => possible(ways));
  if (shape.keys.some((key) => key.required && !possible(key.ways))) return false;
  const required = shape.keys.filter((key) => key.required).length;
  const open = shape.regions.some(({ ways }) => possible(ways));
  if (required > shape.most || keys.length + (open ? 1 : 0) < shape.least) return false;
  let met = 0;
  for (const { ways } of [...keys, ...shape.regions]) for (const way of ways) if (known[way.rule]) met |= way.meets;
  return (met & shape.demands) === shape.demands && shape.least <= shape.most;
}

function arrayIsProductive(shape: ArrayShape, known: readonly boolean[]): boolean {
  const { first, rest, least, most, sorts, once } = shape;
  if (least > most) return false;
  if (once !== undefined) return least <= once.length;
  const end = [...first, rest].findIndex((ways) => !ways.some(({ rule }) => known[rule]));
  const length = end < 0 ? most : Math.min(most, end);
  if (length < least) return false;
  return sorts.every((sort, s) => {
    if (sort.least > sort.most) return false;
    let can = 0;
    for (let i = 0; i < Math.min(first.length, length); i++) {
      if (first[i]!.some(({ rule, sorts: of }) => known[rule] && (of >> s) & 1)) can++;
    }
    const restCan = rest.some(({ rule, sorts: of }) => known[rule] && (of >> s) & 1);
    if (restCan && length > first.length) can += length - first.length;
    return can >= sort.least;
  });
}

/** The least set of rules for which `holds` is true. */
function fixpoint(rules: readonly Node[], holds: (node: Node, known: readonly boolean[]) => boolean): boolean[] {
  const known = rules.map(() => false);
  for (let changed = true; changed; ) {
    changed = false;
    rules.forEach((node, rule) => {
      if (known[rule] || !holds(node, known)) return;
      known[rule] = true;
      changed = true;
    });
  }
  return known;
}
