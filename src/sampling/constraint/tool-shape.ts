/**
 * What a tool dialect's calls look like, as a plain tree, and the grammar of an answer that may hold such calls: text
 * until one begins, what was thought before, or calls and nothing else.
 */
import { HundredweightError } from "../../errors.js";
import { foldRegular } from "./grammar/fold.js";
import { choice, type Grammar, type Node, nothing, repeat, ruleOf, sequence, text } from "./grammar/ir.js";
import { compileSchema, type LeftOut, type SchemaOptions } from "./json/compile.js";
import type { Term, Terms } from "./regex/terms.js";
import { spelled, withoutTexts } from "./thinking.js";
import type { ConstraintVocabulary } from "./vocabulary.js";

export type ToolShape =
  /** Exactly these characters; a control token's text may come as the token. */
  | { readonly is: "text"; readonly text: string }
  | { readonly is: "sequence" | "choice"; readonly of: readonly ToolShape[] }
  | {
      readonly is: "repeat";
      readonly of: ToolShape;
      readonly separator?: ToolShape;
      readonly min: number;
      readonly max?: number;
    }
  /** A JSON value by a schema; `root`: a reference to the part of the schema that is meant. */
  | { readonly is: "json"; readonly schema: unknown; readonly root?: string }
  /** Any text in which none of these occurs. */
  | { readonly is: "string"; readonly until: readonly string[] }
  /** Each entry at most once, in any order, all that are required. */
  | {
      readonly is: "entries";
      readonly of: readonly { readonly key: string; readonly required: boolean; readonly shape: ToolShape }[];
      readonly separator?: ToolShape;
    }
  /** Values as Python or Gemma write them. */
  | { readonly is: "python" | "gemma"; readonly schema: unknown; readonly root?: string };

export interface ShapeConstraint {
  readonly kind: "shape";
  readonly shape: ToolShape;
  /**
   * Texts with which the shape begins: before them, and behind the shape, any text may stand. Absent: the shape is the
   * answer.
   */
  readonly triggers?: readonly string[];
  readonly options?: SchemaOptions;
}

const mostDepth = 100;

/** @throws OPTION_INVALID */
export function compileShape(
  terms: Terms,
  constraint: ShapeConstraint,
  vocabulary: Pick<ConstraintVocabulary, "tokenizer">,
): { readonly grammar: Grammar; readonly leftOut: readonly LeftOut[] } {
  return new ShapeCompiler(terms, constraint, vocabulary).compile();
}

class ShapeCompiler {
  private readonly rules: Node[] = [];
  private readonly names: string[] = [];
  private readonly leftOut: LeftOut[] = [];
  private readonly terms: Terms;
  private readonly constraint: ShapeConstraint;
  private readonly tokenizer: ConstraintVocabulary["tokenizer"];
  private depth = 0;

  constructor(terms: Terms, constraint: ShapeConstraint, { tokenizer }: Pick<ConstraintVocabulary, "tokenizer">) {
    this.terms = terms;
    this.constraint = constraint;
    this.tokenizer = tokenizer;
  }

  compile(): { readonly grammar: Grammar; readonly leftOut: readonly LeftOut[] } {
    const { shape, triggers } = this.constraint;
    const calls = this.rule("calls", this.node(shape));
    let answer = calls;
    if (triggers !== undefined) {
      const free = withoutTexts(this.terms, triggers);
      answer = sequence(free, repeat(sequence(calls, free), 0, Number.POSITIVE_INFINITY));
    }
    const root = this.rules.length;
    this.rules.push(answer);
    this.names.push("answer");
    const grammar = foldRegular(this.terms, { rules: this.rules, names: this.names, root });
    return { grammar, leftOut: this.leftOut };
  }

  private rule(name: string, node: Node): Node {
    this.rules.push(node);
    this.names.push(name);
    return ruleOf(this.rules.length - 1);
  }

  private node(shape: ToolShape): Node {
    if (++this.depth > mostDepth) throw new HundredweightError("OPTION_INVALID", "a tool's shape is nested too deep");
    const made = this.makeNode(shape);
    this.depth--;
    return made;
  }

  private makeNode(shape: ToolShape): Node {
    switch (shape.is) {
      case "text":
        return spelled(this.terms, shape.text, this.tokenizer);
      case "sequence":
        return sequence(...shape.of.map((part) => this.node(part)));
      case "choice":
        return choice(shape.of.map((part) => this.node(part)));
      case "repeat":
        return this.repeated(shape);
      case "string":
        return withoutTexts(this.terms, shape.until);
      case "entries":
        return this.entries(shape);
      case "json":
        return this.json(shape);
      case "python":
      case "gemma":
        return this.literals(shape);
    }
  }

  private repeated({ of, separator, min, max = Number.POSITIVE_INFINITY }: ToolShape & { is: "repeat" }): Node {
    const item = this.rule("item", this.node(of));
    if (separator === undefined) return repeat(item, min, max);
    if (max === 0) return nothing;
    const more = sequence(this.node(separator), item);
    const some = sequence(item, repeat(more, Math.max(0, min - 1), max - 1));
    return min === 0 ? repeat(some, 0, 1) : some;
  }

  private entries({ of, separator }: ToolShape & { is: "entries" }): Node {
    const items = of.map(({ key, required, shape }) => ({ rule: this.ruleNumber(key, this.node(shape)), required }));
    const between = separator === undefined ? undefined : this.ruleNumber("separator", this.node(separator));
    return { kind: "entries", entries: { items, ...(between !== undefined && { separator: between }) } };
  }

  private ruleNumber(name: string, node: Node): number {
    this.rules.push(node);
    this.names.push(name);
    return this.rules.length - 1;
  }

  private json({ schema, root }: { readonly schema: unknown; readonly root?: string }): Node {
    const options: SchemaOptions = { order: "any", ...this.constraint.options };
    const { grammar, leftOut } = compileSchema(this.terms, rooted(schema, root), options);
    this.leftOut.push(...leftOut);
    const offset = this.rules.length;
    this.rules.push(...grammar.rules.map((node) => moved(node, offset)));
    this.names.push(...grammar.names);
    return ruleOf(grammar.root + offset);
  }

  /**
   * Python's and Gemma's literals are JSON with other quotes and names: wider than the schema, whose types are checked
   * afterwards.
   */
  private literals(shape: ToolShape & { is: "python" | "gemma" }): Node {
    this.leftOut.push({ keyword: "type", path: shape.root ?? "#", reason: `values are ${shape.is} literals` });
    const { terms } = this;
    const value = this.rules.length;
    this.rules.push(nothing);
    this.names.push(`${shape.is} value`);
    const blank = terms.optional(terms.literal(" "));
    const sign = (one: string): Node => text(terms.concat(terms.literal(one), blank));
    const list = (open: string, item: Node, close: string): Node => {
      const more = repeat(sequence(sign(","), item), 0, Number.POSITIVE_INFINITY);
      return sequence(sign(open), repeat(sequence(item, more), 0, 1), text(terms.literal(close)));
    };
    const key = shape.is === "gemma" ? text(gemmaKey(terms)) : text(pythonString(terms));
    const entry = sequence(key, sign(":"), ruleOf(value));
    const scalar = shape.is === "gemma" ? gemmaScalar(terms) : pythonScalar(terms);
    this.rules[value] = choice([text(scalar), list("[", ruleOf(value), "]"), list("{", entry, "}")]);
    return ruleOf(value);
  }
}

function rooted(schema: unknown, root: string | undefined): unknown {
  if (root === undefined || root === "#") return schema;
  return { ...(schema as object), $ref: root };
}

/** Rules of another grammar behind those that are there. */
function moved(node: Node, by: number): Node {
  switch (node.kind) {
    case "rule":
      return ruleOf(node.rule + by);
    case "sequence":
    case "choice":
      return { ...node, items: node.items.map((item) => moved(item, by)) };
    case "repeat":
      return { ...node, item: moved(node.item, by) };
    case "object": {
      const ways = <W extends { readonly rule: number }>(list: readonly W[]): W[] =>
        list.map((way) => ({ ...way, rule: way.rule + by }));
      const { keys, regions } = node.object;
      return {
        ...node,
        object: {
          ...node.object,
          keys: keys.map((key) => ({ ...key, ways: ways(key.ways) })),
          regions: regions.map((region) => ({ ...region, ways: ways(region.ways) })),
        },
      };
    }
    case "array": {
      const ways = node.array.first.map((list) => list.map((way) => ({ ...way, rule: way.rule + by })));
      const rest = node.array.rest.map((way) => ({ ...way, rule: way.rule + by }));
      return { ...node, array: { ...node.array, first: ways, rest } };
    }
    default:
      return node;
  }
}

function number(terms: Terms): Term {
  const digits = terms.repeat(terms.class([0x30, 0x39]), 1, 16);
  const fraction = terms.optional(terms.concat(terms.literal("."), digits));
  const exponent = terms.sequence([
    terms.class([0x45, 0x45, 0x65, 0x65]),
    terms.optional(terms.class([0x2b, 0x2b, 0x2d, 0x2d])),
    terms.repeat(terms.class([0x30, 0x39]), 1, 3),
  ]);
  return terms.sequence([terms.optional(terms.literal("-")), digits, fraction, terms.optional(exponent)]);
}

function pythonString(terms: Terms): Term {
  const quoted = (quote: string): Term => {
    const code = quote.codePointAt(0)!;
    const plain = terms.class([0x20, Math.min(code, 0x5c) - 1, Math.min(code, 0x5c) + 1, 0x5b, 0x5d, 0x10ffff]);
    const escaped = terms.concat(terms.literal("\\"), terms.class([0x20, 0x10ffff]));
    const inside = terms.repeat(terms.alt([plain, escaped]), 0, Number.POSITIVE_INFINITY);
    return terms.sequence([terms.literal(quote), inside, terms.literal(quote)]);
  };
  return terms.alt([quoted('"'), quoted("'")]);
}

function pythonScalar(terms: Terms): Term {
  const names = ["True", "False", "None"].map((name) => terms.literal(name));
  return terms.alt([...names, number(terms), pythonString(terms)]);
}

function gemmaKey(terms: Terms): Term {
  const plain = terms.class([0x2d, 0x2e, 0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a]);
  return terms.repeat(plain, 1, Number.POSITIVE_INFINITY);
}

function gemmaScalar(terms: Terms): Term {
  const quote = terms.literal('<|"|>');
  const inside = terms.not(terms.sequence([terms.all, quote, terms.all]));
  const names = ["true", "false", "null"].map((name) => terms.literal(name));
  return terms.alt([...names, number(terms), terms.sequence([quote, inside, quote])]);
}
