/** Rules while a grammar is being made: numbered as they are asked for, also before they are written. */
import { HundredweightError } from "../../../errors.js";
import { choice, type Grammar, moved, type Node } from "./ir.js";

/** A keyword of a schema that was left out. */
export interface LeftOut {
  readonly keyword: string;
  readonly path: string;
  readonly reason: string;
}

/** A grammar, and what answers by it may break: that is checked afterwards. */
export interface CompiledGrammar {
  readonly grammar: Grammar;
  readonly leftOut: readonly LeftOut[];
}

/** Matches nothing. */
const unwritten = choice([]);

export class RuleBook {
  private readonly rules: Node[] = [];
  private readonly names: string[] = [];
  private readonly left = new Map<string, LeftOut>();
  private readonly most: number;

  /** @param most one more rule is OPTION_INVALID */
  constructor(most = Number.POSITIVE_INFINITY) {
    this.most = most;
  }

  get size(): number {
    return this.rules.length;
  }

  /** A number for a rule that is written later.  @throws OPTION_INVALID when there are too many */
  reserve(name: string): number {
    if (this.rules.length >= this.most) {
      throw new HundredweightError("OPTION_INVALID", `the JSON schema makes more than ${this.most} rules`);
    }
    this.names.push(name);
    return this.rules.push(unwritten) - 1;
  }

  write(rule: number, node: Node): void {
    this.rules[rule] = node;
  }

  /** @returns the rule's number */
  add(name: string, node: Node): number {
    const rule = this.reserve(name);
    this.write(rule, node);
    return rule;
  }

  /** Takes over all rules of another grammar.  @returns the number of its root */
  adopt({ rules, names, root }: Grammar): number {
    const offset = this.rules.length;
    rules.forEach((node, rule) => {
      this.add(names[rule] ?? "", moved(node, offset));
    });
    return root + offset;
  }

  /** Notes what is not enforced, each thing once. */
  leaveOut(...all: readonly LeftOut[]): void {
    for (const one of all) this.left.set(`${one.keyword} ${one.path}`, one);
  }

  get leftOut(): readonly LeftOut[] {
    return [...this.left.values()];
  }

  close(root: number): CompiledGrammar {
    return { grammar: { rules: this.rules, names: this.names, root }, leftOut: this.leftOut };
  }
}
