/**
 * The calls of a tool dialect as a plain tree, made into a grammar. What is free before a call, and where one begins,
 * is not said here: `call-watch.ts` looks for that.
 */
import { HundredweightError } from "../../errors.js";
import { compileLiterals, type LiteralStyle } from "./call-literals.js";
import { foldRegular } from "./grammar/fold.js";
import { choice, type Grammar, type Node, nothing, repeat, ruleOf, sequence, text } from "./grammar/ir.js";
import { type CompiledGrammar, RuleBook } from "./grammar/rule-book.js";
import { compileSchema, type SchemaOptions } from "./json/compile.js";
import { parseLark } from "./lark.js";
import { parsePattern } from "./regex/parse.js";
import type { Term, Terms } from "./regex/terms.js";
import { spelled, termWithout, withoutTexts } from "./thinking.js";
import type { ConstraintTokenizer } from "./vocabulary.js";

/** The forms calls may have. */
export type CallShape =
  /** Exactly these characters; a control token's text may come as the token. */
  | { readonly is: "text"; readonly text: string }
  | { readonly is: "sequence" | "choice"; readonly of: readonly CallShape[] }
  | {
      readonly is: "repeat";
      readonly of: CallShape;
      readonly separator?: CallShape;
      readonly min: number;
      /** Default: any number. */
      readonly max?: number;
    }
  /** Any text in which none of these occurs. */
  | { readonly is: "string"; readonly until: readonly string[] }
  /** Each entry at most once, in any order, all that are required. */
  | { readonly is: "entries"; readonly of: readonly CallEntry[]; readonly separator?: CallShape }
  /** A JSON value by a schema. */
  | ({ readonly is: "json" } & ValueSchema)
  /** The same as a literal of Python or of Gemma. */
  | ({ readonly is: LiteralStyle } & ValueSchema)
  /** A string by a schema without quotes around it, up to a text that does not occur in it. */
  | ({ readonly is: "raw"; readonly until: readonly string[] } & ValueSchema)
  /** A text of a grammar: as it is, or as a JSON string. */
  | ({ readonly is: "plain" | "quoted" } & TextGrammar);

export interface CallEntry {
  readonly key: string;
  readonly required: boolean;
  readonly shape: CallShape;
}

interface ValueSchema {
  readonly schema: unknown;
  /** A reference to the part of the schema that is meant. Default: all of it. */
  readonly root?: string;
  /** A keyword that cannot be enforced is an error. Default: it is left out, and noted. */
  readonly strict?: boolean;
  /** Where the schema stands, for messages: the field of a request, or the tool. */
  readonly from?: string;
}

export interface TextGrammar {
  readonly syntax: "lark" | "regex";
  readonly definition: string;
  readonly from?: string;
}

export interface ShapeConstraint {
  readonly kind: "shape";
  readonly shape: CallShape;
  /** The beginning of it that the prompt holds, or what was begun of an answer in which calls are looked for. */
  readonly begun?: string;
  /** Calls come anywhere in a text, and begin so. Absent: the shape is the answer. */
  readonly starts?: readonly CallStart[];
  /** Nothing follows the first calls that were found. */
  readonly once?: boolean;
  /** No call comes: no token that begins one for certain. The shape is not looked at. */
  readonly never?: boolean;
}

/** Tells where calls begin in a text. */
export type CallStart =
  | {
      readonly is: "text";
      /** Up to where the name of a tool begins. Not looked for where it is empty. */
      readonly opener: string;
      /** The opener is enough, whatever tokens it is; otherwise only where a special token is in it. */
      readonly sure: boolean;
      /** The same with the names of the tools: looked for where the opener is not enough. */
      readonly named: readonly string[];
      /** Only where nothing was said before, or since the last call. */
      readonly first: boolean;
    }
  /** A header that names a recipient, closed by a mark. */
  | {
      readonly is: "header";
      readonly mark: string;
      /** Where a header begins: behind one of these, or at the beginning. */
      readonly ends: readonly string[];
      /** Recipients, and the text of the shape that such a header stands for. */
      readonly to: readonly { readonly name: string; readonly text: string }[];
    };

const mostDepth = 100;

/** @throws OPTION_INVALID */
export function compileShape(
  terms: Terms,
  constraint: ShapeConstraint,
  tokenizer: ConstraintTokenizer,
): CompiledGrammar {
  return new ShapeCompiler(terms, constraint, tokenizer).compile();
}

class ShapeCompiler {
  private readonly book = new RuleBook();
  private readonly terms: Terms;
  private readonly constraint: ShapeConstraint;
  private readonly tokenizer: ConstraintTokenizer;
  private depth = 0;

  constructor(terms: Terms, constraint: ShapeConstraint, tokenizer: ConstraintTokenizer) {
    this.terms = terms;
    this.constraint = constraint;
    this.tokenizer = tokenizer;
  }

  compile(): CompiledGrammar {
    const { grammar, leftOut } = this.book.close(this.book.add("calls", this.node(this.constraint.shape)));
    return { grammar: foldRegular(this.terms, grammar), leftOut };
  }

  private node(shape: CallShape): Node {
    if (++this.depth > mostDepth) throw new HundredweightError("OPTION_INVALID", "a tool's shape is nested too deep");
    const made = this.makeNode(shape);
    this.depth--;
    return made;
  }

  private makeNode(shape: CallShape): Node {
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
        return this.orElse(
          shape,
          () => this.json(shape),
          () => this.json({ schema: this.widest(shape) }),
        );
      case "raw":
        return this.orElse(
          shape,
          () => this.raw(shape),
          () => withoutTexts(this.terms, shape.until),
        );
      case "python":
      case "gemma":
        return this.literals(shape);
      case "plain":
      case "quoted":
        return this.ofGrammar(shape);
    }
  }

  private repeated({ of, separator, min, max = Number.POSITIVE_INFINITY }: CallShape & { is: "repeat" }): Node {
    const item = ruleOf(this.book.add("item", this.node(of)));
    if (separator === undefined) return repeat(item, min, max);
    if (max === 0) return nothing;
    const more = sequence(this.node(separator), item);
    const some = sequence(item, repeat(more, Math.max(0, min - 1), max - 1));
    return min === 0 ? repeat(some, 0, 1) : some;
  }

  private entries({ of, separator }: CallShape & { is: "entries" }): Node {
    const items = of.map(({ key, required, shape }) => ({ rule: this.book.add(key, this.node(shape)), required }));
    const between = separator === undefined ? undefined : this.book.add("separator", this.node(separator));
    return { kind: "entries", entries: { items, ...(between !== undefined && { separator: between }) } };
  }

  /** A schema that cannot be obeyed, in one tool of many, makes this one's arguments free. */
  private orElse(shape: CallShape & ValueSchema, make: () => Node, widened: () => Node): Node {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof HundredweightError) || error.code !== "OPTION_INVALID") throw error;
      const { from = "a tool" } = shape;
      if (shape.strict === true) {
        const details = { ...error.details, param: from };
        throw new HundredweightError("OPTION_INVALID", `${from}: ${error.message}`, details, { cause: error });
      }
      const { keyword = "schema", path = "#" } = error.details as { keyword?: string; path?: string };
      this.book.leaveOut({ keyword, path: `${from}${path}`, reason: error.message });
      return widened();
    }
  }

  /** Arguments are an object, whatever they are. */
  private widest({ root }: ValueSchema): unknown {
    return root === undefined ? { type: "object" } : true;
  }

  private json(value: ValueSchema): Node {
    const { grammar, leftOut } = this.schema(value, { order: "any" });
    this.book.leaveOut(...leftOut);
    return this.adopt(grammar);
  }

  private schema(
    { schema, root, strict = false, from = "" }: ValueSchema,
    options: SchemaOptions = {},
  ): CompiledGrammar {
    const asked = { ...options, strict, ...(root !== undefined && { root }) };
    const { grammar, leftOut } = compileSchema(this.terms, schema, asked);
    return { grammar, leftOut: leftOut.map((one) => ({ ...one, path: `${from}${one.path}` })) };
  }

  private adopt(grammar: Grammar): Node {
    return ruleOf(this.book.adopt(grammar));
  }

  /** The strings that are allowed, with the characters as they are. */
  private raw({ until, ...value }: CallShape & { is: "raw" }): Node {
    const { grammar, leftOut } = this.schema(value);
    this.book.leaveOut(...leftOut);
    const strings = stringsOf(grammar.rules[grammar.root]!);
    const free = termWithout(this.terms, until);
    return text(strings.length === 0 ? free : this.terms.and([this.terms.alt(strings), free]));
  }

  private literals({ is, schema, root, strict = false, from = "" }: ValueSchema & { is: LiteralStyle }): Node {
    const { grammar, leftOut } = compileLiterals(this.terms, is, schema, root, this.tokenizer);
    const loose = leftOut.map((one) => ({ ...one, path: `${from}${one.path}` }));
    const [first] = loose;
    if (strict && first !== undefined) {
      const { keyword, path, reason } = first;
      const details = { keyword, path, param: from };
      throw new HundredweightError("OPTION_INVALID", `${keyword} at ${path} is not supported: ${reason}`, details);
    }
    this.book.leaveOut(...loose);
    return this.adopt(grammar);
  }

  private ofGrammar({ is, syntax, definition, from = "" }: TextGrammar & { is: "plain" | "quoted" }): Node {
    const { terms } = this;
    let grammar: Grammar;
    try {
      grammar =
        syntax === "regex"
          ? { rules: [text(parsePattern(terms, definition, { unicodeClasses: true }))], names: ["text"], root: 0 }
          : foldRegular(terms, parseLark(terms, definition));
    } catch (error) {
      if (!(error instanceof HundredweightError)) throw error;
      const details = { ...error.details, param: from };
      throw new HundredweightError("OPTION_INVALID", `${from}: ${error.message}`, details, { cause: error });
    }
    if (is === "plain") return this.adopt(grammar);
    const quote = text(terms.literal('"'));
    return sequence(quote, this.adopt({ ...grammar, rules: grammar.rules.map(insideJson) }), quote);
  }
}

/** The strings that a value may be, where it is nothing else. */
function stringsOf(node: Node): Term[] {
  const items = node.kind === "choice" ? node.items : [node];
  const strings = items.flatMap((item) => (item.kind === "lexeme" && item.encoding === "json" ? [item.term] : []));
  return strings;
}

/** The same text inside of a JSON string. */
function insideJson(node: Node): Node {
  switch (node.kind) {
    case "lexeme":
      return node.encoding === "text" ? { ...node, encoding: "inside" } : node;
    case "sequence":
    case "choice":
      return { ...node, items: node.items.map(insideJson) };
    case "repeat":
      return { ...node, item: insideJson(node.item) };
    default:
      return node;
  }
}
