/**
 * Checks a finished value against a schema, keyword by keyword: for answers whose schema could not be enforced whole.
 * It shares nothing with the compiler but the document.
 */
import { isObject, isSchema, type Json, type JsonObject, type Place, SchemaDocument } from "./documents.js";

/** A place where a value breaks its schema. */
export interface Violation {
  readonly keyword: string;
  /** JSON pointer of the schema. */
  readonly path: string;
  /** JSON pointer of the value. */
  readonly at: string;
}

/** Violations told at most, and steps taken: schemas may be hostile. */
const mostViolations = 10;
const mostSteps = 200_000;

/** @returns what the value breaks, at most ten things; `undefined` when checking would take too long */
export function validateSchema(schema: unknown, value: unknown): readonly Violation[] | undefined {
  return validateDocument(new SchemaDocument(schema), value);
}

/** The same with a schema that is checked more than once. */
export function validateDocument(document: SchemaDocument, value: unknown): readonly Violation[] | undefined {
  return new Validator(document).validate(value as Json);
}

class Validator {
  private readonly document: SchemaDocument;
  private steps = 0;
  private found: Violation[] = [];

  constructor(document: SchemaDocument) {
    this.document = document;
  }

  validate(value: Json): readonly Violation[] | undefined {
    try {
      this.check(this.document.root, value, "");
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
    return this.found.slice(0, mostViolations);
  }

  /** Whether a value holds; what it breaks is forgotten. */
  private holds(place: Place, value: Json, at: string): boolean {
    const before = this.found;
    this.found = [];
    this.check(place, value, at);
    const ok = this.found.length === 0;
    this.found = before;
    return ok;
  }

  private check(place: Place, value: Json, at: string): void {
    if (++this.steps > mostSteps) throw new RangeError("too many steps");
    const { schema, path } = place;
    if (schema === true) return;
    const fail = (keyword: string): void => {
      this.found.push({ keyword, path, at: at === "" ? "/" : at });
    };
    if (schema === false) {
      fail("false");
      return;
    }
    if (typeof schema.$ref === "string") {
      const to = this.document.resolve(place, schema.$ref);
      if (to !== undefined) this.check(to, value, at);
      if (this.document.refAlone) return;
    }
    if (schema.type !== undefined && !hasType(schema, value)) fail("type");
    if (schema.const !== undefined && !equal(schema.const, value)) fail("const");
    if (Array.isArray(schema.enum) && !schema.enum.some((item: Json) => equal(item, value))) fail("enum");
    this.combined(place, schema, value, at, fail);
    if (typeof value === "string") checkString(schema, value, fail);
    else if (typeof value === "number") checkNumber(schema, value, fail);
    else if (Array.isArray(value)) this.array(place, schema, value, at, fail);
    else if (isObject(value)) this.object(place, schema, value, at, fail);
  }

  private combined(place: Place, schema: JsonObject, value: Json, at: string, fail: (keyword: string) => void): void {
    const { document } = this;
    const count = (key: "anyOf" | "oneOf"): number =>
      (schema[key] as readonly Json[]).filter((_, i) => this.holds(document.child(place, key, i), value, at)).length;
    if (Array.isArray(schema.allOf)) {
      schema.allOf.forEach((_: Json, i: number) => {
        this.check(document.child(place, "allOf", i), value, at);
      });
    }
    if (Array.isArray(schema.anyOf) && count("anyOf") === 0) fail("anyOf");
    if (Array.isArray(schema.oneOf) && count("oneOf") !== 1) fail("oneOf");
    if (isSchema(schema.not) && this.holds(document.child(place, "not"), value, at)) fail("not");
    if (isSchema(schema.if)) {
      const branch = this.holds(document.child(place, "if"), value, at) ? "then" : "else";
      if (isSchema(schema[branch])) this.check(document.child(place, branch), value, at);
    }
  }

  private array(
    place: Place,
    schema: JsonObject,
    value: readonly Json[],
    at: string,
    fail: (keyword: string) => void,
  ): void {
    const { document } = this;
    const tupleKey = Array.isArray(schema.items) ? "items" : "prefixItems";
    const tuple = schema[tupleKey];
    const first = Array.isArray(tuple) ? tuple.length : 0;
    const restKey = tupleKey === "items" ? "additionalItems" : "items";
    value.forEach((item, i) => {
      if (i < first) this.check(document.child(place, tupleKey, i), item, `${at}/${i}`);
      else if (isSchema(schema[restKey])) this.check(document.child(place, restKey), item, `${at}/${i}`);
    });
    if (below(value.length, schema.minItems)) fail("minItems");
    if (above(value.length, schema.maxItems)) fail("maxItems");
    if (schema.uniqueItems === true && hasTwins(value)) fail("uniqueItems");
    if (isSchema(schema.contains)) {
      const place2 = document.child(place, "contains");
      const found = value.filter((item, i) => this.holds(place2, item, `${at}/${i}`)).length;
      if (below(found, schema.minContains ?? 1)) fail(schema.minContains === undefined ? "contains" : "minContains");
      if (above(found, schema.maxContains)) fail("maxContains");
    }
  }

  private object(
    place: Place,
    schema: JsonObject,
    value: JsonObject,
    at: string,
    fail: (keyword: string) => void,
  ): void {
    const { document } = this;
    const keys = Object.keys(value);
    if (below(keys.length, schema.minProperties)) fail("minProperties");
    if (above(keys.length, schema.maxProperties)) fail("maxProperties");
    const needs = (list: Json | undefined, keyword: string): void => {
      if (Array.isArray(list) && list.some((key) => !Object.hasOwn(value, String(key)))) fail(keyword);
    };
    needs(schema.required, "required");
    for (const keyword of ["dependentRequired", "dependentSchemas", "dependencies"]) {
      const dependent = schema[keyword];
      if (!isObject(dependent)) continue;
      for (const [key, then] of Object.entries(dependent)) {
        if (!Object.hasOwn(value, key)) continue;
        if (Array.isArray(then)) needs(then, keyword);
        else if (isSchema(then)) this.check(document.child(place, keyword, key), value, at);
      }
    }
    const patterns = isObject(schema.patternProperties) ? Object.keys(schema.patternProperties) : [];
    for (const key of keys) {
      const item = value[key]!;
      const where = `${at}/${key}`;
      let known = false;
      if (isObject(schema.properties) && Object.hasOwn(schema.properties, key)) {
        known = true;
        this.check(document.child(place, "properties", key), item, where);
      }
      for (const source of patterns) {
        if (!matches(source, key)) continue;
        known = true;
        this.check(document.child(place, "patternProperties", source), item, where);
      }
      if (!known && isSchema(schema.additionalProperties)) {
        this.check(document.child(place, "additionalProperties"), item, where);
      }
      if (isSchema(schema.propertyNames)) this.check(document.child(place, "propertyNames"), key, where);
    }
  }
}

function checkString(schema: JsonObject, value: string, fail: (keyword: string) => void): void {
  const length = Array.from(value).length;
  if (below(length, schema.minLength)) fail("minLength");
  if (above(length, schema.maxLength)) fail("maxLength");
  if (typeof schema.pattern === "string" && !matches(schema.pattern, value)) fail("pattern");
}

function checkNumber(schema: JsonObject, value: number, fail: (keyword: string) => void): void {
  if (below(value, schema.minimum)) fail("minimum");
  if (above(value, schema.maximum)) fail("maximum");
  const { exclusiveMinimum: least, exclusiveMaximum: most, multipleOf } = schema;
  if (typeof least === "number" && !(value > least)) fail("exclusiveMinimum");
  if (typeof most === "number" && !(value < most)) fail("exclusiveMaximum");
  if (least === true && value === schema.minimum) fail("exclusiveMinimum");
  if (most === true && value === schema.maximum) fail("exclusiveMaximum");
  if (typeof multipleOf === "number" && !isMultiple(value, multipleOf)) fail("multipleOf");
}

function below(value: number, least: Json | undefined): boolean {
  return typeof least === "number" && value < least;
}

function above(value: number, most: Json | undefined): boolean {
  return typeof most === "number" && value > most;
}

/** 0.3 is a multiple of 0.1, whatever their doubles say. */
function isMultiple(value: number, of: number): boolean {
  const ratio = value / of;
  return Number.isInteger(ratio) || Math.abs(ratio - Math.round(ratio)) < 1e-9 * Math.max(1, Math.abs(ratio));
}

/** A pattern that this Node cannot read, or that is hostile, is not held against a value. */
function matches(source: string, text: string): boolean {
  // Nested repetitions may take for ever in a backtracking engine; those are left to the compiler.
  if (/[*+}]\s*\)\s*[*+{]/.test(source) || text.length > 100_000) return true;
  try {
    return new RegExp(source, "u").test(text);
  } catch {
    return true;
  }
}

function hasType(schema: JsonObject, value: Json): boolean {
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  if (schema.nullable === true && value === null) return true;
  return types.some((type: Json | undefined) => {
    if (type === "integer") return Number.isInteger(value);
    if (type === "array") return Array.isArray(value);
    if (type === "object") return isObject(value);
    return type === "null" ? value === null : typeof value === type;
  });
}

function equal(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => equal(item, b[i]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equal(a[key]!, b[key]!));
}

function hasTwins(items: readonly Json[]): boolean {
  return items.some((item, i) => items.some((other, j) => j > i && equal(item, other)));
}
