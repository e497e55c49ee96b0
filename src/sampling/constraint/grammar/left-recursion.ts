/**
 * Rules that begin with themselves, written without: a: a x | y becomes a: y x*. Parsing goes on behind what is
 * expected, and such a rule would expect itself for ever.
 */
import { choice, type Grammar, type Node, nothing, repeat, sequence } from "./ir.js";

/** Rules put in place of their names, at most, where recursion leads through others. */
const mostSubstitutions = 2_000;

/** Where a way round leads through what may be empty the grammar stays as it is: it is refused when it is compiled. */
export function withoutLeftRecursion(grammar: Grammar): Grammar {
  const rules = [...grammar.rules];
  let left = mostSubstitutions;
  for (let rule = 0; rule < rules.length; rule++) {
    // Rules before this one no longer begin with one before them (Paull's algorithm).
    for (let changed = true; changed && left > 0; ) {
      changed = false;
      const ways = waysOf(rules[rule]!);
      const expanded = ways.flatMap((way) => {
        const first = way[0];
        if (first?.kind !== "rule" || first.rule >= rule || !leadsTo(rules, first.rule, rule)) return [way];
        changed = true;
        left--;
        return waysOf(rules[first.rule]!).map((inner) => [...inner, ...way.slice(1)]);
      });
      if (changed) rules[rule] = choice(expanded.map(nodeOf));
    }
    rules[rule] = withoutDirect(rules[rule]!, rule);
  }
  return { ...grammar, rules };
}

function withoutDirect(node: Node, rule: number): Node {
  const ways = waysOf(node);
  const begins = (way: readonly Node[]): boolean => way[0]?.kind === "rule" && way[0].rule === rule;
  if (!ways.some(begins)) return node;
  const bases = ways.filter((way) => !begins(way)).map(nodeOf);
  const tails = ways.filter((way) => begins(way) && way.length > 1).map((way) => nodeOf(way.slice(1)));
  if (tails.length === 0) return choice(bases);
  return sequence(choice(bases), repeat(choice(tails), 0, Number.POSITIVE_INFINITY));
}

/** Whether a rule can begin with another. */
function leadsTo(rules: readonly Node[], from: number, to: number): boolean {
  const seen = new Set<number>([from]);
  const work = [from];
  for (let rule = work.pop(); rule !== undefined; rule = work.pop()) {
    for (const [first] of waysOf(rules[rule]!)) {
      if (first?.kind !== "rule") continue;
      if (first.rule === to) return true;
      if (!seen.has(first.rule)) work.push(first.rule);
      seen.add(first.rule);
    }
  }
  return false;
}

/** Alternatives as lists of what follows each other, groups at their beginning opened. */
function waysOf(node: Node): (readonly Node[])[] {
  if (node.kind === "choice") return node.items.flatMap(waysOf);
  if (node.kind !== "sequence") return [[node]];
  const [first, ...rest] = node.items;
  if (first === undefined) return [[]];
  if (first.kind !== "choice" && first.kind !== "sequence") return [node.items];
  return waysOf(first).map((way) => [...way, ...rest]);
}

function nodeOf(way: readonly Node[]): Node {
  return way.length === 0 ? nothing : sequence(...way);
}
