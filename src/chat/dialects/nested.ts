/** Reads arguments whose keys are tags and whose objects and lists are tags inside tags, as MiniMax M3 writes them. */
import type { Input, Reading } from "./input.js";
import { kindOfArgument, rawValue, resolved, type ValueKind } from "./schema-kind.js";

const mostDepth = 32;
const mostTagLength = 256;

/** @returns the arguments as JSON text; undefined when a tag is not closed */
export function* readNested(input: Input, prefix: string, parameters: unknown): Reading<string | undefined> {
  const all: string[] = [];
  for (;;) {
    const key = yield* openTag(input, prefix);
    if (key === undefined) return `{${all.join(", ")}}`;
    const about = { schema: schemaOf(parameters, key, parameters), root: parameters };
    const value = yield* content(input, prefix, key, about, kindOfArgument(parameters, key), 0);
    if (value === undefined) return undefined;
    all.push(`${JSON.stringify(key)}: ${value}`);
  }
}

function* content(
  input: Input,
  prefix: string,
  key: string,
  { schema, root }: { readonly schema: unknown; readonly root: unknown },
  kind: ValueKind,
  depth: number,
): Reading<string | undefined> {
  const close = `${prefix}</${key}>`;
  const children: [name: string, value: string][] = [];
  for (let child = yield* openTag(input, prefix); child !== undefined; child = yield* openTag(input, prefix)) {
    if (depth >= mostDepth) return undefined;
    const inner = schemaOf(schema, child, root);
    const about = { schema: inner, root };
    const kind = kindOfArgument({ properties: { [child]: inner } }, child);
    const value = yield* content(input, prefix, child, about, kind, depth + 1);
    if (value === undefined) return undefined;
    children.push([child, value]);
  }
  if (children.length > 0) {
    if (!(yield* input.literal(close))) return undefined;
    return joined(children, schema);
  }
  for (let n = 0; ; n++) {
    if ((yield* input.peek(n)) === "") return undefined;
    let i = 0;
    while (i < close.length && (yield* input.peek(n + i)) === close[i]) i++;
    if (i < close.length) continue;
    const text = input.take(n);
    input.at += close.length;
    const { type } = (schema ?? {}) as { readonly type?: unknown };
    if (text.trim() === "" && (type === "object" || type === "array")) return type === "object" ? "{}" : "[]";
    return rawValue(text, kind);
  }
}

/** A list has equal tags, or the schema says so. */
function joined(children: readonly [name: string, value: string][], schema: unknown): string {
  const type = (schema as { readonly type?: unknown } | undefined)?.type;
  const names = new Set(children.map(([name]) => name));
  const list =
    type === "array" || (type === undefined && names.size === 1 && (children.length > 1 || names.has("item")));
  if (list) return `[${children.map(([, value]) => value).join(", ")}]`;
  return `{${children.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`;
}

/** The schema of a member, or of an element of a list. */
function schemaOf(schema: unknown, key: string, root: unknown): unknown {
  if (typeof schema !== "object" || schema === null) return undefined;
  const { properties, items } = schema as { readonly properties?: Record<string, unknown>; readonly items?: unknown };
  const found = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : items;
  return resolved(found, "", root).schema;
}

/** Takes an opening tag. @returns its name */
function* openTag(input: Input, prefix: string): Reading<string | undefined> {
  const before = yield* input.matches(`${prefix}<`);
  if (before < 0 || (yield* input.peek(before)) === "/") return undefined;
  let n = before;
  while ((yield* input.peek(n)) !== ">") {
    if ((yield* input.peek(n)) === "" || n - before > mostTagLength) return undefined;
    n++;
  }
  const name = input.text.slice(input.at + before, input.at + n);
  input.at += n + 1;
  return name;
}
