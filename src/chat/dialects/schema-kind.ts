/** Tells from a tool's schema whether an argument that was written as raw text is a text or some other JSON value. */

/** `either`: the schema allows both, or says nothing. */
export type ValueKind = "text" | "json" | "either";

type Schema = Readonly<Record<string, unknown>>;

const mostDepth = 16;

export function kindOfArgument(parameters: unknown, key: string): ValueKind {
  const properties = isSchema(parameters) ? parameters.properties : undefined;
  return isSchema(properties) && Object.hasOwn(properties, key) ? kindOf(properties[key], parameters, 0) : "either";
}

/** Names of the arguments in the order of the schema. */
export function argumentNames(parameters: unknown): string[] {
  const properties = isSchema(parameters) ? parameters.properties : undefined;
  return isSchema(properties) ? Object.keys(properties) : [];
}

function kindOf(schema: unknown, root: unknown, depth: number): ValueKind {
  if (!isSchema(schema) || depth > mostDepth) return "either";
  if (typeof schema.$ref === "string") return kindOf(target(root, schema.$ref), root, depth + 1);
  if (schema.type !== undefined) return ofNames([schema.type].flat());
  if (Array.isArray(schema.enum)) return ofNames(schema.enum.map(nameOf));
  if ("const" in schema) return ofNames([nameOf(schema.const)]);
  const options = [schema.anyOf, schema.oneOf].find(Array.isArray) as unknown[] | undefined;
  if (options !== undefined) return together(options.map((option) => kindOf(option, root, depth + 1)));
  const parts = schema.allOf;
  if (Array.isArray(parts)) {
    return parts.map((part) => kindOf(part, root, depth + 1)).find((kind) => kind !== "either") ?? "either";
  }
  if ("properties" in schema || "items" in schema) return "json";
  return "either";
}

function nameOf(value: unknown): string {
  return typeof value === "string" ? "string" : "other";
}

function ofNames(names: readonly unknown[]): ValueKind {
  return together(names.map((name) => (name === "string" ? "text" : "json")));
}

function together(kinds: readonly ValueKind[]): ValueKind {
  return kinds.length > 0 && kinds.every((kind) => kind === kinds[0]) ? kinds[0]! : "either";
}

/** A schema that is told by reference, and where it stands; the same where it is none. */
export function resolved(
  schema: unknown,
  at: string,
  root: unknown,
): { readonly schema: unknown; readonly at: string } {
  let found = { schema, at };
  for (let n = 0; n < mostDepth; n++) {
    if (!isSchema(found.schema) || typeof found.schema.$ref !== "string") return found;
    const { $ref } = found.schema;
    found = { schema: target(root, $ref), at: $ref };
  }
  return found;
}

/** A place in the same schema, `#/$defs/City`. */
function target(root: unknown, reference: string): unknown {
  if (!reference.startsWith("#")) return undefined;
  let at = root;
  for (const part of reference.slice(1).split("/").slice(1)) {
    const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    at = isSchema(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return at;
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Raw text as a JSON value.
 * @param text as it stood between the marks
 */
export function rawValue(text: string, kind: ValueKind): string {
  if (kind === "text") return JSON.stringify(text);
  const value = text.trim();
  try {
    JSON.parse(value);
    return value;
  } catch {
    const python = { True: "true", False: "false", None: "null" }[value];
    return python ?? JSON.stringify(text);
  }
}
