/**
 * A JSON Schema as a document: which schemas are in it, which base URI each has, and what a `$ref` in one of them
 * means. Only what lies in the document is found; nothing is ever fetched.
 */
import { HundredweightError } from "../../../errors.js";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** One schema of a document. */
export interface Place {
  readonly schema: JsonObject | boolean;
  /** JSON pointer from the document's root, with `#` before it. */
  readonly path: string;
  readonly base: string;
}

/** Says what a keyword holds. */
const oneSchema = [
  "additionalItems",
  "additionalProperties",
  "contains",
  "contentSchema",
  "else",
  "if",
  "items",
  "not",
  "propertyNames",
  "then",
  "unevaluatedItems",
  "unevaluatedProperties",
];
const listOfSchemas = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];
const namedSchemas = ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/** Schemas nested deeper are refused; a program that makes them is at fault, or an attacker. */
const mostDepth = 200;
const rootBase = "json-schema:///";

export class SchemaDocument {
  readonly root: Place;
  /** Draft 7 and earlier: what stands beside `$ref` does not count. */
  readonly refAlone: boolean;
  private readonly document: Json;
  private readonly places = new Map<string, Place>();
  /** URI of a resource, or of an anchor in one -> place. */
  private readonly named = new Map<string, Place>();

  /**
   * @param draft what a schema without `$schema` is written in
   * @throws OPTION_INVALID when it is no schema
   */
  constructor(document: unknown, draft: "draft-7" | "2020-12" = "2020-12") {
    this.document = document as Json;
    if (!isSchema(this.document)) {
      throw new HundredweightError("OPTION_INVALID", "the JSON schema is neither an object nor true or false");
    }
    const said = typeof this.document === "object" ? this.document.$schema : undefined;
    this.refAlone = typeof said === "string" ? /draft-0[3-7]/.test(said) : draft === "draft-7";
    this.root = this.visit(this.document, "#", rootBase, 0);
    if (!this.named.has(rootBase)) this.named.set(rootBase, this.root);
  }

  /** The schema at a path below another one. */
  child(place: Place, ...steps: readonly (string | number)[]): Place {
    const path = steps.reduce<string>((at, step) => `${at}/${escapeStep(String(step))}`, place.path);
    return this.at(path, place.base);
  }

  /** @returns undefined when nothing of that name is in the document */
  resolve(place: Place, reference: string): Place | undefined {
    const uri = resolveUri(reference, place.base);
    if (uri === undefined) return undefined;
    const [resource = "", fragment = ""] = uri.split("#", 2);
    const base = this.named.get(resource) ?? (resource === rootBase ? this.root : undefined);
    if (base === undefined) return undefined;
    if (fragment === "") return base;
    if (!fragment.startsWith("/")) return this.named.get(`${resource}#${fragment}`);
    let steps: string[];
    try {
      steps = decodeURIComponent(fragment).slice(1).split("/");
    } catch {
      return undefined;
    }
    const path = [base.path, ...steps].join("/");
    return this.find(path) === undefined ? undefined : this.at(path, base.base);
  }

  private at(path: string, base: string): Place {
    const known = this.places.get(path);
    if (known !== undefined) return known;
    // Below a keyword that is not known: still a schema when a reference says so.
    const found = this.find(path);
    if (!isSchema(found)) {
      throw new HundredweightError("OPTION_INVALID", `JSON schema: ${path} is neither an object nor true or false`, {
        path,
      });
    }
    return this.visit(found, path, this.baseOf(path) ?? base, path.split("/").length);
  }

  /** The base of the nearest schema around a path. */
  private baseOf(path: string): string | undefined {
    for (let at = path; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      const place = this.places.get(at);
      if (place !== undefined) return place.base;
    }
    return undefined;
  }

  private find(path: string): Json | undefined {
    let at: Json | undefined = this.document;
    for (const step of path.split("/").slice(1)) {
      if (typeof at !== "object" || at === null) return undefined;
      const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
      at = Object.hasOwn(at, key) ? (at as JsonObject)[key] : undefined;
    }
    return at;
  }

  private visit(schema: JsonObject | boolean, path: string, outer: string, depth: number): Place {
    if (depth > mostDepth) {
      throw new HundredweightError("OPTION_INVALID", `JSON schema: ${path} is nested deeper than ${mostDepth}`);
    }
    if (typeof schema === "boolean") return this.keep({ schema, path, base: outer });
    const id = schema.$id ?? schema.id;
    const skipsId = this.refAlone && schema.$ref !== undefined;
    let base = outer;
    if (typeof id === "string" && !skipsId) {
      if (id.startsWith("#") && id.length > 1) {
        // An anchor, as draft 7 wrote it.
        this.named.set(`${outer.split("#", 1)[0]}${id}`, { schema, path, base: outer });
      } else base = (resolveUri(id, outer) ?? outer).split("#", 1)[0]!;
    }
    const place = this.keep({ schema, path, base });
    if (base !== outer && !this.named.has(base)) this.named.set(base, place);
    for (const key of ["$anchor", "$dynamicAnchor"]) {
      if (typeof schema[key] === "string") this.named.set(`${base}#${schema[key]}`, place);
    }
    if (!skipsId) this.visitChildren(schema, path, base, depth + 1);
    else for (const key of ["$defs", "definitions"]) this.visitNamed(schema[key], `${path}/${key}`, base, depth + 1);
    return place;
  }

  private visitChildren(schema: JsonObject, path: string, base: string, depth: number): void {
    for (const key of oneSchema) {
      const value = schema[key];
      if (isSchema(value)) this.visit(value, `${path}/${key}`, base, depth);
    }
    for (const key of listOfSchemas) {
      const value = schema[key];
      if (!Array.isArray(value)) continue;
      value.forEach((item: Json, i) => {
        if (isSchema(item)) this.visit(item, `${path}/${key}/${i}`, base, depth);
      });
    }
    for (const key of namedSchemas) this.visitNamed(schema[key], `${path}/${key}`, base, depth);
  }

  private visitNamed(value: Json | undefined, path: string, base: string, depth: number): void {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return;
    for (const [name, item] of Object.entries(value)) {
      if (isSchema(item)) this.visit(item, `${path}/${escapeStep(name)}`, base, depth);
    }
  }

  private keep(place: Place): Place {
    this.places.set(place.path, place);
    return place;
  }
}

export function isSchema(value: Json | undefined): value is JsonObject | boolean {
  return typeof value === "boolean" || isObject(value);
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function escapeStep(step: string): string {
  return step.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** An absolute URI; a URN has no hierarchy, so only a fragment can be relative to it. */
function resolveUri(reference: string, base: string): string | undefined {
  if (reference.startsWith("#")) return `${base.split("#", 1)[0]}${reference}`;
  try {
    return new URL(reference, base).href.replace(/#$/, "");
  } catch {
    return undefined;
  }
}
