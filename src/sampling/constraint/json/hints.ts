/** Finds the types a schema speaks of that names none: `properties` belong to objects, `items` to arrays. */
import { isObject, type Place, type SchemaDocument } from "./documents.js";

export type HintedKind = "object" | "array" | "string" | "number";

const keywordsOf: Readonly<Record<HintedKind, readonly string[]>> = {
  object: [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
  ],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"],
  string: ["pattern", "minLength", "maxLength", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
};

/** @returns an empty set when the schema speaks of none */
export function kindsHinted(document: SchemaDocument, place: Place, depth = 8): Set<HintedKind> {
  const found = new Set<HintedKind>();
  const { schema } = place;
  if (typeof schema === "boolean" || depth === 0) return found;
  for (const [kind, keywords] of Object.entries(keywordsOf)) {
    if (keywords.some((key) => schema[key] !== undefined)) found.add(kind as HintedKind);
  }
  const inside: Place[] = [];
  if (typeof schema.$ref === "string") {
    const to = document.resolve(place, schema.$ref);
    if (to !== undefined) inside.push(to);
  }
  if (Array.isArray(schema.allOf)) for (const i of schema.allOf.keys()) inside.push(document.child(place, "allOf", i));
  for (const part of inside) {
    if (isObject(part.schema)) for (const kind of kindsHinted(document, part, depth - 1)) found.add(kind);
  }
  return found;
}
