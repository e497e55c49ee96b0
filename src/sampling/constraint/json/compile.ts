/** JSON Schema -> grammar. */
import { HundredweightError } from "../../../errors.js";
import type { ArrayShape, ElementWay, KeyRegion, Node, ObjectShape, Space, ValueWay } from "../grammar/ir.js";
import type { Encoding } from "../grammar/lexemes.js";
import { type CompiledGrammar, RuleBook } from "../grammar/rule-book.js";
import { isAlive } from "../regex/measure.js";
import type { Term, Terms } from "../regex/terms.js";
import { type JsonObject, type Place, SchemaDocument } from "./documents.js";
import { enumerate } from "./enumerate.js";
import { type Expression, Expressions } from "./expressions.js";
import { kindsHinted } from "./hints.js";
import { type KeywordHost, shapeOfSchema } from "./keywords.js";
import { Numbers } from "./numbers.js";
import { type ArrayRecord, elementAt, type ObjectRecord, type Shape, Shapes, Unsupported } from "./shapes.js";

export interface SchemaOptions {
  /**
   * A keyword that cannot be said is an error that names it and its path; otherwise it is left out, and noted. Default
   * false.
   */
  readonly strict?: boolean;
  /** Declared keys in their order, further ones behind them (default), or any order. */
  readonly order?: "declared" | "any";
  /**
   * Objects with declared properties have no others unless `additionalProperties` or `patternProperties` speak of them
   * (default), as llama.cpp reads them; `false`: they may have, as the standard says.
   */
  readonly closed?: boolean;
  /** A schema with `properties` and no `type` means an object, one with `items` an array, and so on (default). */
  readonly inferTypes?: boolean;
  /** `format` restricts strings (default); otherwise it says nothing, as the standard has it. */
  readonly formats?: boolean;
  /**
   * `bounded` (default): nothing, a blank, or one or two line ends and up to 20 blanks between tokens; `none`:
   * nothing.
   */
  readonly whiteSpace?: "bounded" | "none";
  /**
   * The draft a schema without `$schema` is written in. Default 2020-12; what earlier drafts wrote otherwise is
   * understood, too.
   */
  readonly draft?: "draft-7" | "2020-12";
  /** A reference to the part of the schema that is meant: `#/properties/city`. Default: all of it. */
  readonly root?: string;
}

/** Characters of a schema. */
export const mostSchemaLength = 1 << 20;
const mostRules = 20_000;
const mostDemands = 3;
const mostUnique = 256;

/**
 * @throws OPTION_INVALID: no schema, too large, or, when strict, something that cannot be said (details: keyword,
 * path)
 */
export function compileSchema(terms: Terms, schema: unknown, options: SchemaOptions = {}): CompiledGrammar {
  return new SchemaCompiler(terms, schema, options).compile();
}

class SchemaCompiler implements KeywordHost {
  readonly document: SchemaDocument;
  readonly expressions = new Expressions();
  readonly shapes: Shapes;
  readonly options: { readonly formats: boolean };
  private readonly terms: Terms;
  private readonly numbers: Numbers;
  private readonly given: SchemaOptions;
  private readonly space: Space;
  private readonly book = new RuleBook(mostRules);
  private readonly ruleOf = new Map<Expression, number>();
  private readonly queue: Expression[] = [];
  private readonly known = new Map<string, Shape>();
  private readonly busy = new Set<string>();

  constructor(terms: Terms, schema: unknown, options: SchemaOptions) {
    if ((JSON.stringify(schema)?.length ?? 0) > mostSchemaLength) {
      throw new HundredweightError("OPTION_INVALID", `the JSON schema is longer than ${mostSchemaLength} characters`);
    }
    this.terms = terms;
    this.given = options;
    this.options = { formats: options.formats ?? true };
    this.document = new SchemaDocument(schema, options.draft);
    this.numbers = new Numbers(terms);
    this.shapes = new Shapes(terms, this.numbers, this.expressions);
    this.space = spaceOf(terms, options.whiteSpace ?? "bounded");
  }

  compile(): CompiledGrammar {
    const { strict = false } = this.given;
    try {
      const root = this.rule(this.expressions.schema(this.start));
      for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
        this.book.write(this.ruleOf.get(next)!, this.define(next));
      }
      return this.book.close(root);
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      const { keyword, path, reason } = error;
      const what = strict ? "is not supported" : "cannot be left out";
      throw new HundredweightError("OPTION_INVALID", `JSON schema: ${keyword} at ${path} ${what}: ${reason}`, {
        keyword,
        path,
      });
    }
  }

  private get start(): Place {
    const { root } = this.document;
    const { root: reference } = this.given;
    const found = reference === undefined ? root : this.document.resolve(root, reference);
    if (found !== undefined) return found;
    throw new HundredweightError("OPTION_INVALID", `JSON schema: there is no ${reference}`, { path: reference });
  }

  note(fault: Unsupported): void {
    if (this.given.strict === true) throw fault;
    const { keyword, path, reason } = fault;
    this.book.leaveOut({ keyword, path, reason });
  }

  shapeOf(expression: Expression, exact: boolean): Shape {
    const all = exact || this.given.strict === true;
    const key = `${expression.id}${all ? "!" : ""}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    if (this.busy.has(key)) {
      const path = expression.kind === "schema" ? expression.place.path : "#";
      throw new Unsupported("$ref", path, "it leads back to itself before any value is read");
    }
    this.busy.add(key);
    try {
      const shape = this.makeShape(expression, all);
      this.known.set(key, shape);
      return shape;
    } finally {
      this.busy.delete(key);
    }
  }

  private makeShape(expression: Expression, exact: boolean): Shape {
    const { shapes } = this;
    switch (expression.kind) {
      case "any":
        return shapes.any;
      case "never":
        return shapes.never;
      case "schema":
        return shapeOfSchema(this, expression.place, exact);
      case "and":
        return expression.parts.map((part) => this.shapeOf(part, exact)).reduce((a, b) => shapes.and(a, b));
      case "or":
        return expression.parts.map((part) => this.shapeOf(part, exact)).reduce((a, b) => shapes.or(a, b));
      case "not":
        return shapes.not(this.shapeOf(expression.part, true));
    }
  }

  private rule(expression: Expression): number {
    const known = this.ruleOf.get(expression);
    if (known !== undefined) return known;
    const { book } = this;
    const rule = book.reserve(expression.kind === "schema" ? expression.place.path : `value ${book.size}`);
    this.ruleOf.set(expression, rule);
    this.queue.push(expression);
    return rule;
  }

  private define(expression: Expression): Node {
    const { terms, numbers } = this;
    const shape = this.inferred(expression, this.shapeOf(expression, false));
    const items: Node[] = [];
    const { plain, every } = shape.number;
    const literal = (name: "null" | "true" | "false"): Term => (shape[name] ? terms.literal(name) : terms.empty);
    const onlyWhole = !isAlive(terms, terms.minus(plain, numbers.whole));
    const number = every ? numbers.withExponent : onlyWhole ? terms.and([plain, numbers.wholeText]) : plain;
    const scalar = terms.alt([literal("null"), literal("true"), literal("false"), number]);
    if (isAlive(terms, scalar)) items.push({ kind: "lexeme", encoding: "text", term: scalar });
    if (isAlive(terms, shape.string)) items.push({ kind: "lexeme", encoding: "json", term: shape.string });
    for (const record of shape.arrays) items.push({ kind: "array", array: this.array(record, expression) });
    for (const record of shape.objects) items.push({ kind: "object", object: this.object(record, expression) });
    return { kind: "choice", items };
  }

  /** Types that the keywords speak of, where none is named. */
  private inferred(expression: Expression, shape: Shape): Shape {
    if (this.given.inferTypes === false || expression.kind !== "schema") return shape;
    if (!shape.null || !shape.true || !shape.false) return shape;
    const kinds = kindsHinted(this.document, expression.place);
    if (kinds.size === 0) return shape;
    const { never } = this.shapes;
    return {
      ...never,
      number: kinds.has("number") ? shape.number : never.number,
      string: kinds.has("string") ? shape.string : never.string,
      arrays: kinds.has("array") ? shape.arrays : [],
      objects: kinds.has("object") ? shape.objects : [],
    };
  }

  private object(record: ObjectRecord, expression: Expression): ObjectShape {
    const { terms, expressions, shapes } = this;
    const { properties, required, most } = record;
    let { some, least } = record;
    if (some.length > mostDemands) {
      this.note(new Unsupported("not", pathOf(expression), "an object has to break too many rules at once"));
      some = some.slice(0, mostDemands);
    }
    const names = [...properties.keys(), ...[...required].filter((key) => !properties.has(key))];
    const keys = names
      .map((key) => ({ key, value: shapes.valueOf(record, key), required: required.has(key) }))
      .filter((key) => key.required || key.value !== expressions.never)
      .map(({ key, value, required: needed }) => {
        const meets = some.map(({ term }) => shapes.matches(term, key));
        return { key, required: needed, ways: this.ways(value, some, meets) };
      });
    const closed = this.given.closed !== false && names.length > 0 && least <= keys.length && some.length === 0;
    const declared = terms.alt(names.map((name) => terms.literal(name)));
    const regions: KeyRegion[] = [];
    for (const region of record.regions) {
      if (region.value === expressions.never || (closed && region.implicit)) continue;
      // Cut by what the demands speak of.
      let cut = [{ term: terms.minus(region.term, declared), meets: [] as boolean[] }];
      for (const { term } of some) {
        cut = cut.flatMap((part) => [
          { term: terms.and([part.term, term]), meets: [...part.meets, true] },
          { term: terms.minus(part.term, term), meets: [...part.meets, false] },
        ]);
      }
      for (const { term, meets } of cut) {
        if (isAlive(terms, term)) regions.push({ term, ways: this.ways(region.value, some, meets) });
      }
    }
    const reach = keys.length + (regions.length > 0 ? 1 : 0);
    if (least > reach && regions.length > 0 && most > reach) {
      // Which keys came is remembered of declared ones only.
      this.note(new Unsupported("minProperties", pathOf(expression), "more than the declared keys and one other"));
      least = reach;
    }
    const { order = "declared" } = this.given;
    return { keys, regions, order, least, most, demands: 2 ** some.length - 1, space: this.space };
  }

  /** A value that meets some of the demands it may meet: a way for each choice of them. */
  private ways(value: Expression, some: ObjectRecord["some"], meets: readonly boolean[]): ValueWay[] {
    const { expressions } = this;
    const ways: ValueWay[] = [];
    for (let choice = 0; choice < 2 ** some.length; choice++) {
      const chosen = some.filter((_, d) => (choice >> d) & 1);
      if (some.some((_, d) => (choice >> d) & 1 && meets[d] !== true)) continue;
      const all = expressions.and([value, ...chosen.map((demand) => demand.value)]);
      if (all !== expressions.never) ways.push({ rule: this.rule(all), meets: choice });
    }
    return ways;
  }

  private array(record: ArrayRecord, expression: Expression): ArrayShape {
    const { least, most, unique } = record;
    let { contains } = record;
    if (contains.length > mostDemands) {
      this.note(new Unsupported("contains", pathOf(expression), "too many at once"));
      contains = contains.slice(0, mostDemands);
    }
    const { space } = this;
    const sorts = contains.map(({ least: from, most: to }) => ({ least: from, most: to }));
    if (unique && most > 1) {
      const values = contains.length === 0 ? this.scalars(record) : undefined;
      if (values !== undefined) {
        return { first: [], rest: [], least, most: Math.min(most, values.length), sorts: [], space, once: values };
      }
      this.note(new Unsupported("uniqueItems", pathOf(expression), "only of elements from a list of plain values"));
    }
    const length = Math.max(record.first.length, ...contains.map(({ from }) => from));
    const first = Array.from({ length }, (_, i) => this.elementWays(elementAt(record, i), contains, i));
    return { first, rest: this.elementWays(record.rest, contains, length), least, most, sorts, space };
  }

  private elementWays(element: Expression, contains: ArrayRecord["contains"], index: number): ElementWay[] {
    const { expressions } = this;
    const ways: ElementWay[] = [];
    for (let choice = 0; choice < 2 ** contains.length; choice++) {
      if (contains.some(({ from }, c) => (choice >> c) & 1 && index < from)) continue;
      const parts = contains.map((demand, c) => {
        if ((choice >> c) & 1) return demand.element;
        // Where there may be too many, one that is not counted must not be of the set.
        return demand.most < Number.POSITIVE_INFINITY && index >= demand.from
          ? expressions.not(demand.element)
          : expressions.any;
      });
      const all = expressions.and([element, ...parts]);
      if (all !== expressions.never) ways.push({ rule: this.rule(all), sorts: choice });
    }
    return ways;
  }

  /** The values an array's elements may have, when they are few and plain. */
  private scalars(record: ArrayRecord): { readonly encoding: Encoding; readonly term: Term }[] | undefined {
    if (record.first.length > 0) return undefined;
    const { terms, numbers } = this;
    const shape = this.shapeOf(record.rest, false);
    if (shape.arrays.length > 0 || shape.objects.length > 0 || shape.number.every) return undefined;
    const strings = enumerate(terms, shape.string, mostUnique);
    const texts = enumerate(terms, terms.and([shape.number.plain, numbers.wholeText]), mostUnique);
    if (strings === undefined || texts === undefined) return undefined;
    if (isAlive(terms, terms.minus(shape.number.plain, numbers.whole))) return undefined;
    for (const name of ["null", "true", "false"] as const) if (shape[name]) texts.push(name);
    return [
      ...strings.map((value) => ({ encoding: "json" as const, term: terms.literal(value) })),
      ...texts.map((value) => ({ encoding: "text" as const, term: terms.literal(value) })),
    ];
  }
}

function pathOf(expression: Expression): string {
  return expression.kind === "schema" ? expression.place.path : "#";
}

/** llama.cpp's bounds: weak models write blanks for ever where they may. */
function spaceOf(terms: Terms, kind: "bounded" | "none"): Space {
  if (kind === "none") return { line: terms.epsilon, beforeColon: terms.epsilon, afterColon: terms.epsilon };
  const blank = terms.literal(" ");
  const indent = terms.repeat(terms.class([0x09, 0x09, 0x20, 0x20]), 0, 20);
  const lines = terms.concat(terms.repeat(terms.literal("\n"), 1, 2), indent);
  const line = terms.optional(terms.alt([blank, lines]));
  return { line, beforeColon: terms.optional(blank), afterColon: line };
}

/** Any JSON object: what `json_object` asks for. */
export const anyObjectSchema: JsonObject = { type: "object" };
