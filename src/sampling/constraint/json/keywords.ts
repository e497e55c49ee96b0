/**
 * Turns the keywords of one schema into a shape. What a grammar cannot say is `Unsupported`, or left out and noted.
 */
import { HundredweightError } from "../../../errors.js";
import { longest } from "../regex/measure.js";
import { parsePattern } from "../regex/parse.js";
import type { Term } from "../regex/terms.js";
import { isObject, isSchema, type Json, type JsonObject, type Place, type SchemaDocument } from "./documents.js";
import type { Expression, Expressions } from "./expressions.js";
import { formatTerm } from "./formats.js";
import { decimalOf, type NumberSet } from "./numbers.js";
import { type ArrayRecord, type ObjectRecord, type Region, type Shape, type Shapes, Unsupported } from "./shapes.js";

export interface KeywordOptions {
  /** `format` restricts strings; otherwise it says nothing, as the standard has it. */
  readonly formats: boolean;
}

/** The compiler around it, as a keyword needs it. */
export interface KeywordHost {
  readonly document: SchemaDocument;
  readonly expressions: Expressions;
  readonly shapes: Shapes;
  readonly options: KeywordOptions;
  /** @param exact nothing may be left out @throws Unsupported */
  shapeOf(expression: Expression, exact: boolean): Shape;
  /** Something was left out. */
  note(fault: Unsupported): void;
}

type Keyword = (host: KeywordHost, place: Place, value: Json, exact: boolean) => Shape;

/** Counts beyond this are no counts. */
const mostCount = 1e9;
/** The values of an `enum`. */
const mostValues = 10_000;

const typeNames = ["null", "boolean", "number", "integer", "string", "array", "object"];

function countOf(place: Place, keyword: string, value: Json): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return Math.min(value, mostCount);
  throw wrong(place, keyword, "is not a whole number from 0 on");
}

function numberOf(place: Place, keyword: string, value: Json): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw wrong(place, keyword, "is not a number");
}

function listOf(place: Place, keyword: string, value: Json): readonly Json[] {
  if (Array.isArray(value)) return value;
  throw wrong(place, keyword, "is not a list");
}

function namesOf(place: Place, keyword: string, value: Json): readonly string[] {
  const list = listOf(place, keyword, value);
  if (list.every((name) => typeof name === "string")) return list as readonly string[];
  throw wrong(place, keyword, "is not a list of names");
}

function wrong(place: Place, keyword: string, what: string): HundredweightError {
  const path = `${place.path}/${keyword}`;
  return new HundredweightError("OPTION_INVALID", `JSON schema: ${path} ${what}`, { keyword, path });
}

/** A pattern of the schema's: it may match anywhere. @throws Unsupported naming the keyword */
export function patternOf({ shapes }: KeywordHost, place: Place, keyword: string, source: string): Term {
  try {
    return parsePattern(shapes.terms, source, { search: true });
  } catch (error) {
    if (error instanceof HundredweightError) throw new Unsupported(keyword, place.path, error.message);
    throw error;
  }
}

const strings = ({ shapes }: KeywordHost, string: Term): Shape => ({ ...shapes.any, string });
const numbers = ({ shapes }: KeywordHost, number: NumberSet): Shape => ({ ...shapes.any, number });

function bound(side: "from" | "upTo", exclusive: boolean, keyword: string): Keyword {
  return (host, place, value) => {
    const decimal = decimalOf(numberOf(place, keyword, value));
    if (decimal === undefined) throw new Unsupported(keyword, place.path, "the number has too many digits");
    return numbers(host, { plain: host.shapes.numbers[side](decimal, exclusive), every: false });
  };
}

/** Bounds as draft 4 wrote them: a switch beside the bound. */
function oldBound(side: "from" | "upTo", keyword: string, partner: string): Keyword {
  return (host, place, value, exact) => {
    if (typeof value !== "boolean") return bound(side, true, keyword)(host, place, value, exact);
    const limit = typeof place.schema === "object" ? place.schema[partner] : undefined;
    if (!value || limit === undefined) return host.shapes.any;
    return bound(side, true, keyword)(host, place, limit, exact);
  };
}

function length(least: boolean, keyword: string): Keyword {
  return (host, place, value) => {
    const count = countOf(place, keyword, value);
    const { terms } = host.shapes;
    return strings(host, terms.repeat(terms.any, least ? count : 0, least ? Number.POSITIVE_INFINITY : count));
  };
}

/** The value a schema names, and no other. */
function exactly(host: KeywordHost, place: Place, value: Json): Shape {
  const { shapes, expressions } = host;
  const { never, terms } = shapes;
  if (value === null) return { ...never, null: true };
  if (typeof value === "boolean") return value ? { ...never, true: true } : { ...never, false: true };
  if (typeof value === "string") return { ...never, string: terms.literal(value) };
  if (typeof value === "number") {
    const decimal = decimalOf(value);
    const plain = decimal === undefined ? terms.empty : shapes.numbers.exactly(decimal);
    if (longest(terms, plain) === 0 || plain === terms.empty) {
      throw new Unsupported("const", place.path, `the number ${value} has too many digits`);
    }
    return { ...never, number: { plain, every: false } };
  }
  const inside = (item: Json, step: string | number): Expression => {
    const path = `${place.path}/${step}`;
    return expressions.schema({ schema: { const: item }, path: `${path}=`, base: place.base });
  };
  if (Array.isArray(value)) {
    const first = value.map(inside);
    const size = value.length;
    return { ...never, arrays: [{ ...shapes.anyArray, first, rest: expressions.never, least: size, most: size }] };
  }
  const properties = new Map(Object.entries(value).map(([key, item]) => [key, inside(item, key)]));
  return {
    ...never,
    objects: [shapes.object({ properties, required: new Set(properties.keys()), regions: [] })],
  };
}

/**
 * Keywords that stand for themselves; those of objects and arrays that depend on each other are read together below.
 */
const single: Readonly<Record<string, Keyword>> = {
  type: ({ shapes }, place, value) => {
    const types = typeof value === "string" ? [value] : namesOf(place, "type", value);
    const has = (name: string): boolean => types.includes(name);
    for (const name of types) if (!typeNames.includes(name)) throw wrong(place, "type", `names no type: '${name}'`);
    const whole = { plain: shapes.numbers.whole, every: false };
    return {
      null: has("null"),
      true: has("boolean"),
      false: has("boolean"),
      number: has("number") ? shapes.everyNumber : has("integer") ? whole : shapes.never.number,
      string: has("string") ? shapes.terms.all : shapes.terms.empty,
      arrays: has("array") ? [shapes.anyArray] : [],
      objects: has("object") ? [shapes.anyObject] : [],
    };
  },
  const: (host, place, value) => exactly(host, { ...place, path: `${place.path}/const` }, value),
  enum: (host, place, value) => {
    const list = listOf(place, "enum", value);
    if (list.length > mostValues) throw wrong(place, "enum", `has more than ${mostValues} values`);
    const { shapes } = host;
    const all = list.map((item, i) => exactly(host, { ...place, path: `${place.path}/enum/${i}` }, item));
    return {
      null: all.some((s) => s.null),
      true: all.some((s) => s.true),
      false: all.some((s) => s.false),
      number: { plain: shapes.terms.alt(all.map((s) => s.number.plain)), every: false },
      string: shapes.terms.alt(all.map((s) => s.string)),
      arrays: all.flatMap((s) => s.arrays),
      objects: all.flatMap((s) => s.objects),
    };
  },
  nullable: ({ shapes }) => shapes.any, // read beside `type`
  minLength: length(true, "minLength"),
  maxLength: length(false, "maxLength"),
  pattern: (host, place, value) => {
    if (typeof value !== "string") throw wrong(place, "pattern", "is not a text");
    return strings(host, patternOf(host, place, "pattern", value));
  },
  format: (host, place, value) => {
    if (!host.options.formats || typeof value !== "string") return host.shapes.any;
    const term = formatTerm(host.shapes.terms, value);
    if (term === undefined) throw new Unsupported("format", place.path, `'${value.slice(0, 50)}' is not known`);
    return strings(host, term);
  },
  minimum: bound("from", false, "minimum"),
  maximum: bound("upTo", false, "maximum"),
  exclusiveMinimum: oldBound("from", "exclusiveMinimum", "minimum"),
  exclusiveMaximum: oldBound("upTo", "exclusiveMaximum", "maximum"),
  multipleOf: (host, place, value) => {
    const decimal = decimalOf(numberOf(place, "multipleOf", value));
    if (decimal?.negative === true || value === 0) throw wrong(place, "multipleOf", "is not above 0");
    const plain = decimal === undefined ? undefined : host.shapes.numbers.multiples(decimal);
    if (plain === undefined) throw new Unsupported("multipleOf", place.path, "the number has too many digits");
    return numbers(host, { plain, every: false });
  },
  minItems: ({ shapes }, place, value) =>
    shapes.onlyArrays([{ ...shapes.anyArray, least: countOf(place, "minItems", value) }]),
  maxItems: ({ shapes }, place, value) =>
    shapes.onlyArrays([{ ...shapes.anyArray, most: countOf(place, "maxItems", value) }]),
  uniqueItems: ({ shapes }, _, value) =>
    value === true ? shapes.onlyArrays([{ ...shapes.anyArray, unique: true }]) : shapes.any,
  minProperties: ({ shapes }, place, value) =>
    shapes.onlyObjects([shapes.object({ least: countOf(place, "minProperties", value) })]),
  maxProperties: ({ shapes }, place, value) =>
    shapes.onlyObjects([shapes.object({ most: countOf(place, "maxProperties", value) })]),
  required: ({ shapes }, place, value) => {
    // In draft 3 a switch of a property.
    if (typeof value === "boolean") return shapes.any;
    return shapes.onlyObjects([shapes.object({ required: new Set(namesOf(place, "required", value)) })]);
  },
  allOf: (host, place, value, exact) =>
    listOf(place, "allOf", value)
      .map((_, i) => host.shapeOf(subschema(host, place, "allOf", i), exact))
      .reduce((a, b) => host.shapes.and(a, b), host.shapes.any),
  anyOf: (host, place, value, exact) =>
    listOf(place, "anyOf", value)
      .map((_, i) => host.shapeOf(subschema(host, place, "anyOf", i), exact))
      .reduce((a, b) => host.shapes.or(a, b), host.shapes.never),
  oneOf: (host, place, value, exact) => {
    const ways = listOf(place, "oneOf", value).map((_, i) => subschema(host, place, "oneOf", i));
    return oneOf(host, place, ways, exact);
  },
  not: (host, place) => {
    const { shapes } = host;
    return shapes.not(host.shapeOf(subschema(host, place, "not"), true));
  },
  if: (host, place, _, exact) => {
    const { expressions, shapes } = host;
    const schema = place.schema as JsonObject;
    if (schema.then === undefined && schema.else === undefined) return shapes.any;
    const condition = subschema(host, place, "if");
    const then = schema.then === undefined ? expressions.any : subschema(host, place, "then");
    const otherwise = schema.else === undefined ? expressions.any : subschema(host, place, "else");
    const holds = shapes.and(host.shapeOf(condition, exact), host.shapeOf(then, exact));
    const fails = shapes.and(shapes.not(host.shapeOf(condition, true)), host.shapeOf(otherwise, exact));
    return shapes.or(holds, fails);
  },
  dependentRequired: (host, place, value) => dependencies(host, place, "dependentRequired", value, true),
  dependentSchemas: (host, place, value, exact) => dependencies(host, place, "dependentSchemas", value, exact),
  dependencies: (host, place, value, exact) => dependencies(host, place, "dependencies", value, exact),
  $ref: (host, place, value, exact) => {
    if (typeof value !== "string") throw wrong(place, "$ref", "is not a text");
    const to = host.document.resolve(place, value);
    if (to === undefined) throw new Unsupported("$ref", place.path, `'${value.slice(0, 200)}' is not in the schema`);
    return host.shapeOf(host.expressions.schema(to), exact);
  },
};

const refused: readonly string[] = ["$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties"];
const ofObjects: readonly string[] = ["properties", "patternProperties", "additionalProperties", "propertyNames"];
const ofArrays: readonly string[] = [
  "items",
  "prefixItems",
  "additionalItems",
  "contains",
  "minContains",
  "maxContains",
];

/**
 * @throws Unsupported when something cannot be said and nothing may be left out; OPTION_INVALID when the schema is no
 * schema
 */
export function shapeOfSchema(host: KeywordHost, place: Place, exact: boolean): Shape {
  const schema = place.schema as JsonObject;
  const { shapes, document } = host;
  let shape = shapes.any;
  const add = (say: () => Shape): void => {
    try {
      shape = shapes.and(shape, say());
    } catch (error) {
      if (!(error instanceof Unsupported) || exact) throw error;
      host.note(error.path === "#" ? new Unsupported(error.keyword, place.path, error.reason) : error);
    }
  };
  if (schema.$ref !== undefined && document.refAlone) {
    add(() => single.$ref!(host, place, schema.$ref!, exact));
    return shape;
  }
  for (const [key, value] of Object.entries(schema)) {
    const keyword = Object.hasOwn(single, key) ? single[key] : undefined;
    if (keyword !== undefined && value !== undefined) add(() => keyword(host, place, value, exact));
    const nothingLeft = key.startsWith("unevaluated") && value === true;
    if (refused.includes(key) && !nothingLeft) {
      add(() => {
        throw new Unsupported(key, place.path, "not supported");
      });
    }
  }
  if (typeof schema.$schema === "string" && !/^https?:\/\/json-schema\.org\/(draft|schema)/.test(schema.$schema)) {
    add(() => {
      throw new Unsupported("$schema", place.path, "it may give keywords another meaning");
    });
  }
  if (ofObjects.some((key) => schema[key] !== undefined)) add(() => objectKeywords(host, place, schema));
  if (ofArrays.some((key) => schema[key] !== undefined)) add(() => arrayKeywords(host, place, schema));
  // OpenAPI 3.0.
  if (schema.nullable === true && schema.type !== undefined) shape = { ...shape, null: true };
  return shape;
}

function subschema({ document, expressions }: KeywordHost, place: Place, ...steps: (string | number)[]): Expression {
  return expressions.schema(document.child(place, ...steps));
}

function oneOf(host: KeywordHost, place: Place, ways: readonly Expression[], exact: boolean): Shape {
  const { shapes } = host;
  const all = ways.map((way) => host.shapeOf(way, exact));
  try {
    const exactly = ways.map((way) => host.shapeOf(way, true));
    const overlap = (i: number, j: number): boolean =>
      shapes.mayOverlap(exactly[i]!, exactly[j]!, (inside) => lookInside(host, inside));
    let shape = shapes.never;
    for (let i = 0; i < ways.length; i++) {
      let only = exactly[i]!;
      for (let j = 0; j < ways.length; j++) {
        if (j !== i && overlap(i, j)) only = shapes.and(only, shapes.not(exactly[j]!));
      }
      shape = shapes.or(shape, only);
    }
    return shape;
  } catch (error) {
    if (!(error instanceof Unsupported) || exact) throw error;
    host.note(new Unsupported("oneOf", place.path, `values may match two alternatives (${error.message})`));
    return all.reduce((a, b) => shapes.or(a, b), shapes.never);
  }
}

/** @returns undefined when it cannot be said */
function lookInside(host: KeywordHost, expression: Expression): Shape | undefined {
  try {
    return host.shapeOf(expression, true);
  } catch (error) {
    if (error instanceof Unsupported) return undefined;
    throw error;
  }
}

function dependencies(host: KeywordHost, place: Place, keyword: string, value: Json, exact: boolean): Shape {
  const { shapes, expressions } = host;
  if (!isObject(value)) throw wrong(place, keyword, "is not an object");
  let shape = shapes.any;
  for (const [key, then] of Object.entries(value)) {
    const without = shapes.onlyObjects([shapes.object({ properties: new Map([[key, expressions.never]]) })]);
    const present = shapes.object({ required: new Set([key]) });
    const demand = Array.isArray(then)
      ? shapes.onlyObjects([shapes.object({ required: new Set(namesOf(place, keyword, then)) })])
      : isSchema(then)
        ? host.shapeOf(subschema(host, place, keyword, key), exact)
        : undefined;
    if (demand === undefined) throw wrong(place, keyword, "holds neither lists of names nor schemas");
    const withKey = shapes.and({ ...shapes.never, objects: [present] }, demand);
    shape = shapes.and(shape, shapes.or(without, withKey));
  }
  return shape;
}

function objectKeywords(host: KeywordHost, place: Place, schema: JsonObject): Shape {
  const { shapes, expressions } = host;
  const { terms } = shapes;
  const declared = schema.properties ?? {};
  const patterns = schema.patternProperties ?? {};
  if (!isObject(declared)) throw wrong(place, "properties", "is not an object");
  if (!isObject(patterns)) throw wrong(place, "patternProperties", "is not an object");
  const rest = schema.additionalProperties;
  if (rest !== undefined && !isSchema(rest)) throw wrong(place, "additionalProperties", "is no schema");
  const other = rest === undefined ? expressions.any : subschema(host, place, "additionalProperties");
  const sets = Object.keys(patterns).map((source) => ({
    term: patternOf(host, place, "patternProperties", source),
    value: subschema(host, place, "patternProperties", source),
  }));
  // Keys that match no pattern, one, two ...: parts that do not overlap.
  let regions: Region[] = [{ term: terms.all, value: expressions.any, implicit: false }];
  for (const { term, value } of sets) {
    regions = regions.flatMap((region) => [
      { ...region, term: terms.and([region.term, term]), value: expressions.and([region.value, value]) },
      { ...region, term: terms.minus(region.term, term) },
    ]);
    if (regions.length > 256) throw new Unsupported("patternProperties", place.path, "too many patterns");
  }
  const unmatched = terms.not(terms.alt(sets.map(({ term }) => term)));
  const record: ObjectRecord = shapes.object({
    properties: new Map(
      Object.keys(declared).map((key) => {
        const matched = sets.filter(({ term }) => shapes.matches(term, key)).map(({ value }) => value);
        return [key, expressions.and([subschema(host, place, "properties", key), ...matched])];
      }),
    ),
    regions: shapes.living(
      sets.length === 0
        ? [{ term: terms.all, value: other, implicit: rest === undefined }]
        : [...regions.slice(0, -1), { term: unmatched, value: other, implicit: rest === undefined }],
    ),
  });
  const shape = shapes.onlyObjects([record]);
  if (schema.propertyNames === undefined) return shape;
  const { string } = host.shapeOf(subschema(host, place, "propertyNames"), true);
  const named = { term: string, value: expressions.any, implicit: true };
  return shapes.and(shape, shapes.onlyObjects([shapes.object({ regions: shapes.living([named]) })]));
}

function arrayKeywords(host: KeywordHost, place: Place, schema: JsonObject): Shape {
  const { shapes, expressions } = host;
  const { items, prefixItems, additionalItems } = schema;
  const isTuple = Array.isArray(items);
  const firstKey = isTuple ? "items" : "prefixItems";
  const list = isTuple ? items : (prefixItems ?? []);
  const first = listOf(place, firstKey, list).map((_, i) => subschema(host, place, firstKey, i));
  const restKey = isTuple ? "additionalItems" : "items";
  const restSchema = isTuple ? additionalItems : items;
  if (restSchema !== undefined && !isSchema(restSchema as Json)) throw wrong(place, restKey, "is no schema");
  const rest = restSchema === undefined ? expressions.any : subschema(host, place, restKey);
  let record: ArrayRecord = { ...shapes.anyArray, first, rest };
  if (schema.contains !== undefined) {
    const least = schema.minContains === undefined ? 1 : countOf(place, "minContains", schema.minContains);
    const most =
      schema.maxContains === undefined ? Number.POSITIVE_INFINITY : countOf(place, "maxContains", schema.maxContains);
    const element = subschema(host, place, "contains");
    if (least > 0 || most < Number.POSITIVE_INFINITY) {
      record = { ...record, contains: [{ element, least, most, from: 0 }] };
    }
  }
  return shapes.onlyArrays([record]);
}
