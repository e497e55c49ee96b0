/**
 * Values as Python or Gemma write them, by a JSON Schema: types, lists of values, members and elements are enforced,
 * bounds and patterns are not.
 */
import { choice, type Node, repeat, ruleOf, sequence, text } from "./grammar/ir.js";
import { type CompiledGrammar, RuleBook } from "./grammar/rule-book.js";
import { isObject, isSchema, type Json, type JsonObject, type Place, SchemaDocument } from "./json/documents.js";
import type { Term, Terms } from "./regex/terms.js";
import { spelled } from "./thinking.js";
import type { ConstraintTokenizer } from "./vocabulary.js";

export type LiteralStyle = "python" | "gemma";

/** Keywords that are obeyed, or say nothing of what is right. */
const obeyed = new Set(
  (
    "type enum const properties required items anyOf oneOf $ref additionalProperties $defs definitions $schema $id " +
    "$anchor $comment title description default examples deprecated readOnly writeOnly nullable"
  ).split(" "),
);

/** @throws OPTION_INVALID when it is no schema */
export function compileLiterals(
  terms: Terms,
  style: LiteralStyle,
  schema: unknown,
  root: string | undefined,
  tokenizer: ConstraintTokenizer,
): CompiledGrammar {
  return new LiteralCompiler(terms, style, schema, tokenizer).compile(root);
}

class LiteralCompiler {
  private readonly terms: Terms;
  private readonly style: LiteralStyle;
  private readonly document: SchemaDocument;
  private readonly tokenizer: ConstraintTokenizer;
  private readonly book = new RuleBook();
  private readonly ruleOf = new Map<string, number>();

  constructor(terms: Terms, style: LiteralStyle, schema: unknown, tokenizer: ConstraintTokenizer) {
    this.terms = terms;
    this.style = style;
    this.tokenizer = tokenizer;
    this.document = new SchemaDocument(schema ?? true);
    // Rule 0: any value.
    this.rule("any value", () => this.any());
  }

  compile(root: string | undefined): CompiledGrammar {
    const { document } = this;
    const place = root === undefined ? document.root : document.resolve(document.root, root);
    const start = place === undefined ? 0 : this.value(place);
    return this.book.close(start);
  }

  private rule(name: string, make: () => Node): number {
    const rule = this.book.reserve(name);
    this.book.write(rule, make());
    return rule;
  }

  private value(place: Place): number {
    const known = this.ruleOf.get(place.path);
    if (known !== undefined) return known;
    this.ruleOf.set(place.path, this.book.size);
    return this.rule(place.path, () => this.node(place));
  }

  private node(place: Place): Node {
    const { schema } = place;
    if (typeof schema === "boolean") return schema ? ruleOf(0) : choice([]);
    const loose = Object.keys(schema).find((key) => !obeyed.has(key) && !(key === "format" || key.startsWith("x-")));
    if (loose !== undefined) {
      this.book.leaveOut({ keyword: loose, path: place.path, reason: `values are ${this.style} literals` });
    }
    if (typeof schema.$ref === "string") {
      const target = this.document.resolve(place, schema.$ref);
      return target === undefined || target.path === place.path ? ruleOf(0) : ruleOf(this.value(target));
    }
    const listed = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const as Json] : undefined;
    if (listed !== undefined) return choice(listed.map((value: Json) => this.exactly(value)));
    for (const key of ["anyOf", "oneOf"]) {
      const options = schema[key];
      if (Array.isArray(options)) {
        return choice(options.map((_, i) => ruleOf(this.value(this.document.child(place, key, i)))));
      }
    }
    const types = [schema.type ?? (isObject(schema.properties) ? "object" : undefined)].flat();
    const nodes = types.map((type) => this.ofType(place, schema, type as string | undefined));
    if (schema.nullable === true) nodes.push(text(this.terms.literal(this.word("null"))));
    return choice(nodes);
  }

  private ofType(place: Place, schema: JsonObject, type: string | undefined): Node {
    const { terms } = this;
    switch (type) {
      case "string":
        return this.string;
      case "integer":
        return text(terms.concat(terms.optional(terms.literal("-")), wholeNumber(terms)));
      case "number":
        return text(anyNumber(terms));
      case "boolean":
        return text(terms.alt(["true", "false"].map((name) => terms.literal(this.word(name)))));
      case "null":
        return text(terms.literal(this.word("null")));
      case "array": {
        const items = isSchema(schema.items) ? this.value(this.document.child(place, "items")) : 0;
        return this.list("[", ruleOf(items), "]");
      }
      case "object":
        return isObject(schema.properties) ? this.members(place, schema.properties, schema.required) : this.anyObject;
      default:
        return ruleOf(0);
    }
  }

  private members(place: Place, properties: JsonObject, required: Json | undefined): Node {
    const wanted = new Set(Array.isArray(required) ? required : []);
    const items = Object.keys(properties).map((key) => {
      const value = ruleOf(this.value(this.document.child(place, "properties", key)));
      const name = this.style === "python" ? this.exactString(key) : text(this.terms.literal(key));
      return { rule: this.rule(key, () => sequence(name, this.sign(":"), value)), required: wanted.has(key) };
    });
    const separator = this.rule("separator", () => this.sign(","));
    const open = text(this.terms.literal("{"));
    const close = text(this.terms.literal("}"));
    return sequence(open, { kind: "entries", entries: { items, separator } }, close);
  }

  private any(): Node {
    const { terms } = this;
    const words = ["true", "false", "null"].map((name) => terms.literal(this.word(name)));
    const scalar = text(terms.alt([...words, anyNumber(terms)]));
    return choice([scalar, this.string, this.list("[", ruleOf(0), "]"), this.anyObject]);
  }

  private get anyObject(): Node {
    const key = this.style === "gemma" ? text(gemmaKey(this.terms)) : this.string;
    return this.list("{", sequence(key, this.sign(":"), ruleOf(0)), "}");
  }

  private list(open: string, item: Node, close: string): Node {
    const more = repeat(sequence(this.sign(","), item), 0, Number.POSITIVE_INFINITY);
    return sequence(this.sign(open), repeat(sequence(item, more), 0, 1), text(this.terms.literal(close)));
  }

  private sign(one: string): Node {
    const { terms } = this;
    return text(terms.concat(terms.literal(one), terms.optional(terms.literal(" "))));
  }

  private exactly(value: Json): Node {
    if (typeof value === "string") return this.exactString(value);
    if (typeof value !== "object" || value === null) return text(this.terms.literal(this.word(JSON.stringify(value))));
    return ruleOf(0);
  }

  private exactString(value: string): Node {
    const { terms, style } = this;
    return style === "gemma" ? this.quoted(terms.literal(value)) : text(terms.literal(JSON.stringify(value)));
  }

  private get string(): Node {
    const { terms } = this;
    if (this.style === "python") return text(pythonString(terms));
    const quote = terms.literal(gemmaQuote);
    return this.quoted(terms.not(terms.sequence([terms.all, quote, terms.all])));
  }

  /** Gemma's quotes are control tokens. */
  private quoted(inside: Term): Node {
    const quote = spelled(this.terms, gemmaQuote, this.tokenizer);
    return sequence(quote, text(inside), quote);
  }

  private word(json: string): string {
    const python: Readonly<Record<string, string>> = { true: "True", false: "False", null: "None" };
    return this.style === "python" ? (python[json] ?? json) : json;
  }
}

/** Without zeros before it: readers take no others for numbers. */
function wholeNumber(terms: Terms): Term {
  const digits = terms.concat(terms.class([0x31, 0x39]), terms.repeat(terms.class([0x30, 0x39]), 0, 15));
  return terms.alt([terms.literal("0"), digits]);
}

function anyNumber(terms: Terms): Term {
  const digits = terms.repeat(terms.class([0x30, 0x39]), 1, 16);
  const fraction = terms.optional(terms.concat(terms.literal("."), digits));
  const exponent = terms.sequence([
    terms.class([0x45, 0x45, 0x65, 0x65]),
    terms.optional(terms.class([0x2b, 0x2b, 0x2d, 0x2d])),
    terms.repeat(terms.class([0x30, 0x39]), 1, 3),
  ]);
  return terms.sequence([terms.optional(terms.literal("-")), wholeNumber(terms), fraction, terms.optional(exponent)]);
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

const gemmaQuote = '<|"|>';

function gemmaKey(terms: Terms): Term {
  const plain = terms.class([0x2d, 0x2e, 0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a]);
  return terms.repeat(plain, 1, Number.POSITIVE_INFINITY);
}
