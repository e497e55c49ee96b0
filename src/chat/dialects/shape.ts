/**
 * Says what the calls of a dialect may look like, for the constraint on the sampler: the same rows by which replies are
 * read. Plain data: it travels to the engine.
 */
import type { CallEntry, CallShape } from "../../sampling/constraint/call-shape.js";
import { customInput } from "./custom-input.js";
import { kindOfArgument, resolved, type ValueKind } from "./schema-kind.js";
import type { CallForm, Dialect, ObjectKeys, Params, Piece, ToolShape } from "./types.js";

export interface ShapeOptions {
  /** One call and no more. */
  readonly single: boolean;
}

/** Whether one form, with the marks around it, is all calls of an answer. */
export function holdsAllCalls({ section, call }: CallForm): boolean {
  return section !== undefined || call.some((piece) => typeof piece !== "string" && isList(piece));
}

/** The calls of an answer, from the first character of their first mark to the last of their last. */
export function shapeOfCalls(
  { forms }: Dialect,
  tools: readonly ToolShape[],
  { single }: ShapeOptions,
): CallShape | undefined {
  const [form] = forms;
  if (form === undefined || tools.length === 0) return undefined;
  const listed = form.call.findIndex((piece) => typeof piece !== "string" && isList(piece));
  const { section, separator = "" } = form;
  const count = { min: 1, ...(single && { max: 1 }) };
  if (listed >= 0) {
    const piece = form.call[listed] as Exclude<Piece, string>;
    const element = choice(tools.map((tool) => elementShape(piece, tool)));
    const [open, between, close] = bracketsOf(piece);
    const list = sequence([text(open), { is: "repeat", of: element, separator: text(between), ...count }, text(close)]);
    return sequence([...texts(form.call.slice(0, listed)), list, ...texts(form.call.slice(listed + 1))]);
  }
  const one = choice(tools.map((tool) => sequence(form.call.map((piece, i) => pieceShape(piece, tool, form, i)))));
  const calls: CallShape = { is: "repeat", of: one, separator: text(separator), ...count };
  return section === undefined ? calls : sequence([text(section[0]), calls, text(section[1])]);
}

const text = (value: string): CallShape => ({ is: "text", text: value });
const choice = (of: readonly CallShape[]): CallShape => (of.length === 1 ? of[0]! : { is: "choice", of });

function sequence(of: readonly CallShape[]): CallShape {
  const parts = of.filter((part) => part.is !== "text" || part.text !== "");
  return parts.length === 1 ? parts[0]! : { is: "sequence", of: parts };
}

function texts(pieces: readonly Piece[]): CallShape[] {
  return pieces.filter((piece) => typeof piece === "string").map(text);
}

function isList(piece: Exclude<Piece, string>): boolean {
  return piece.is === "list" || piece.is === "keyed" || piece.is === "python";
}

function bracketsOf(piece: Exclude<Piece, string>): [open: string, between: string, close: string] {
  return piece.is === "python" && piece.bare === true ? ["", "\n", ""] : ["[", ", ", "]"];
}

function elementShape(piece: Exclude<Piece, string>, tool: ToolShape): CallShape {
  switch (piece.is) {
    case "list":
      return objectShape(piece, tool);
    case "keyed":
      return sequence([text(`{${JSON.stringify(tool.name)}: `), jsonShape(tool), text("}")]);
    default:
      return pythonShape(tool);
  }
}

function pieceShape(piece: Piece, tool: ToolShape, form: CallForm, at: number): CallShape {
  if (typeof piece === "string") return text(piece);
  switch (piece.is) {
    case "name": {
      const name = text(`${piece.prefix ?? ""}${tool.name}`);
      return piece.numbered === true ? sequence([name, text(":"), jsonOf({ type: "integer", minimum: 0 })]) : name;
    }
    case "id": {
      const next = form.call[at + 1];
      return { is: "string", until: typeof next === "string" ? [next] : [] };
    }
    case "json":
      return jsonShape(tool);
    case "object":
      return objectShape(piece, tool);
    case "params":
      return paramsShape(piece, tool);
    case "gemma":
      return { is: "gemma", schema: schemaOf(tool), ...about(tool) };
    case "nested":
      return nestedShape(piece.prefix, tool, schemaOf(tool), "#", 0);
    default:
      return text("");
  }
}

const jsonOf = (schema: unknown): CallShape => ({ is: "json", schema });

/** How a schema of a tool is obeyed. */
function about({ name, strict = false, from = name }: ToolShape): { strict: boolean; from: string } {
  return { strict, from };
}

function jsonShape(tool: ToolShape): CallShape {
  const { grammar } = tool;
  if (grammar === undefined) return { is: "json", schema: schemaOf(tool), ...about(tool) };
  const { from } = about(tool);
  return sequence([text(`{${JSON.stringify(customInput)}: `), { is: "quoted", from, ...grammar }, text("}")]);
}

/** Arguments are an object, and tools take what their schema names and nothing else. */
function schemaOf({ parameters }: ToolShape): unknown {
  if (typeof parameters !== "object" || parameters === null) return { type: "object" };
  return "additionalProperties" in parameters || !("properties" in parameters)
    ? { type: "object", ...parameters }
    : { type: "object", ...parameters, additionalProperties: false };
}

function objectShape(keys: ObjectKeys, tool: ToolShape): CallShape {
  const open = `{${JSON.stringify(keys.name)}: ${JSON.stringify(tool.name)}, ${JSON.stringify(keys.arguments)}: `;
  return sequence([text(open), jsonShape(tool), text("}")]);
}

/** Where the schema of an argument stands in that of the tool. */
function placeOf(key: string): string {
  return `#/properties/${stepOf(key)}`;
}

function stepOf(key: string): string {
  return encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1"));
}

function propertiesOf({ parameters }: ToolShape): [key: string, schema: unknown, required: boolean][] {
  const { properties, required } = (parameters ?? {}) as { properties?: Record<string, unknown>; required?: unknown };
  const wanted = new Set(Array.isArray(required) ? required : []);
  return Object.entries(properties ?? {}).map(([key, schema]) => [key, schema, wanted.has(key)]);
}

function paramsShape({ open, close, textKind }: Params, tool: ToolShape): CallShape {
  const entries = propertiesOf(tool).map(([key, schema, required]): CallEntry => {
    const kind = kindOfArgument(tool.parameters, key);
    const before = open.map((part): CallShape => {
      if (typeof part === "string") return text(part);
      return text(part.is === "key" ? key : kind === "text" ? (textKind ?? "") : kindWord(textKind, schema));
    });
    const value = paramValue(tool, key, kind, close.trim());
    return { key, required, shape: sequence([...before, value, text(close)]) };
  });
  return { is: "entries", of: entries };
}

function paramValue(tool: ToolShape, key: string, kind: ValueKind, close: string): CallShape {
  const part = { schema: tool.parameters, root: placeOf(key), ...about(tool) };
  if (tool.grammar !== undefined && key === customInput) return { is: "plain", from: part.from, ...tool.grammar };
  if (kind === "json") return { is: "json", ...part };
  return kind === "text" ? { is: "raw", until: [close], ...part } : { is: "string", until: [close] };
}

/** Tags inside of tags, for values that are no objects and lists the text between them. */
function nestedShape(prefix: string, tool: ToolShape, schema: unknown, at: string, depth: number): CallShape {
  const tag = (key: string, inner: CallShape): CallShape =>
    sequence([text(`${prefix}<${key}>`), inner, text(`${prefix}</${key}>`)]);
  const value = (key: string, given: unknown, from: string): CallShape => {
    const { schema: inner, at: place } = resolved(given, from, tool.parameters);
    const { type, properties, items } = (inner ?? {}) as Readonly<Record<string, unknown>>;
    const until = `${prefix}</`;
    if (depth < mostNested && type === "object" && properties !== undefined)
      return nestedShape(prefix, tool, inner, place, depth + 1);
    if (depth < mostNested && type === "array" && items !== undefined && !Array.isArray(items)) {
      return { is: "repeat", of: tag("item", value("item", items, `${place}/items`)), min: 0 };
    }
    const kind = kindOfArgument({ properties: { [key]: inner } }, key);
    const part = { schema: tool.parameters, root: place, ...about(tool) };
    if (kind === "json" && type !== "object" && type !== "array") return { is: "json", ...part };
    return kind === "text" ? { is: "raw", until: [until], ...part } : { is: "string", until: [until] };
  };
  const entries = propertiesOf({ name: tool.name, parameters: schema }).map(([key, inner, required]): CallEntry => {
    const place = `${at}/properties/${stepOf(key)}`;
    return { key, required, shape: tag(key, value(key, inner, place)) };
  });
  return { is: "entries", of: entries };
}

const mostNested = 8;

function kindWord(textKind: string | undefined, schema: unknown): string {
  if (textKind === "true") return "false";
  const type = (schema as { readonly type?: unknown } | null)?.type;
  return type === "integer" ? "number" : typeof type === "string" ? type : "object";
}

function pythonShape(tool: ToolShape): CallShape {
  const entries = propertiesOf(tool).map(
    ([key, , required]): CallEntry => ({
      key,
      required,
      shape: sequence([text(`${key}=`), { is: "python", schema: tool.parameters, root: placeOf(key), ...about(tool) }]),
    }),
  );
  return sequence([text(`${tool.name}(`), { is: "entries", of: entries, separator: text(", ") }, text(")")]);
}
