/**
 * Parts of a grammar that are regular become lexemes: what is written character by character is then read by one
 * automaton, not by the parser. The texts that match stay the same.
 */
import type { Term, Terms } from "../regex/terms.js";
import { choice, type Grammar, type Node, nothing, sequence, text } from "./ir.js";

/** Larger parts stay rules: their automata could have too many states. */
const mostParts = 3_000;

export function foldRegular(terms: Terms, grammar: Grammar): Grammar {
  return new Folder(terms, grammar).fold();
}

interface Part {
  readonly term: Term;
  readonly size: number;
}

class Folder {
  private readonly terms: Terms;
  private readonly grammar: Grammar;
  /** The rule as a term; `null` while it is being found out, and when it is none. */
  private readonly known = new Map<number, Part | null>();

  constructor(terms: Terms, grammar: Grammar) {
    this.terms = terms;
    this.grammar = grammar;
  }

  fold(): Grammar {
    return { ...this.grammar, rules: this.grammar.rules.map((node) => this.node(node)) };
  }

  private node(node: Node): Node {
    const part = this.part(node);
    if (part !== undefined) return text(part.term);
    switch (node.kind) {
      case "sequence":
        return sequence(...this.joined(node.items, (parts) => this.terms.sequence(parts)));
      case "choice": {
        const regular = node.items.flatMap((item) => this.part(item) ?? []);
        const others = node.items.filter((item) => this.part(item) === undefined).map((item) => this.node(item));
        const merged = regular.length === 0 ? [] : [text(this.terms.alt(regular.map(({ term }) => term)))];
        return choice([...merged, ...others]);
      }
      case "repeat":
        return { ...node, item: this.node(node.item) };
      default:
        return node;
    }
  }

  /** Neighbours that are regular become one lexeme. */
  private joined(items: readonly Node[], join: (terms: readonly Term[]) => Term): Node[] {
    const out: Node[] = [];
    let run: Part[] = [];
    const flush = (): void => {
      if (run.length > 0) out.push(text(join(run.map(({ term }) => term))));
      run = [];
    };
    for (const item of items) {
      const part = this.part(item);
      if (part !== undefined && run.reduce((sum, { size }) => sum + size, part.size) > mostParts) flush();
      if (part !== undefined) run.push(part);
      else {
        flush();
        out.push(this.node(item));
      }
    }
    flush();
    return out.length === 0 ? [nothing] : out;
  }

  private part(node: Node): Part | undefined {
    const made = this.makePart(node);
    return made === undefined || made.size > mostParts ? undefined : made;
  }

  private makePart(node: Node): Part | undefined {
    const { terms } = this;
    switch (node.kind) {
      case "lexeme":
        return node.encoding === "text" ? { term: node.term, size: 1 } : undefined;
      case "sequence":
      case "choice": {
        const parts: Part[] = [];
        let size = 1;
        for (const item of node.items) {
          const part = this.part(item);
          if (part === undefined) return undefined;
          size += part.size;
          if (size > mostParts) return undefined;
          parts.push(part);
        }
        const inner = parts.map(({ term }) => term);
        return { term: node.kind === "choice" ? terms.alt(inner) : terms.sequence(inner), size };
      }
      case "repeat": {
        const part = this.part(node.item);
        if (part === undefined) return undefined;
        return { term: terms.repeat(part.term, node.least, node.most), size: part.size + 1 };
      }
      case "rule":
        return this.rulePart(node.rule);
      default:
        return undefined;
    }
  }

  private rulePart(rule: number): Part | undefined {
    const known = this.known.get(rule);
    if (known !== undefined) return known ?? undefined;
    this.known.set(rule, null);
    const part = this.part(this.grammar.rules[rule]!);
    if (part !== undefined) this.known.set(rule, part);
    return part;
  }
}
