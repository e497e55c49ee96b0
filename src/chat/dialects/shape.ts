/**
 * Says what the calls of a dialect may look like, for the constraint on the sampler: the same rows by which replies are
 * read. Plain data: it travels to the engine.
 */
import { kindOfArgument } from "./schema-kind.js";
import type { CallForm, Dialect, ObjectKeys, Params, Piece, ToolShape } from "./types.js";

export type Shape =
  /** Exactly this text. */
  | { readonly is: "text"; readonly text: string }
  | { readonly is: "sequence"; readonly of: readonly Shape[] }
  | { readonly is: "choice"; readonly of: readonly Shape[] }
  | {
      readonly is: "repeat";
      readonly of: Shape;
      readonly separator?: Shape;
      readonly min: number;
      /** Default: any number. */
      readonly max?: number;
    }
  /** One JSON value that a schema allows, or the part of it that `root` refers to. */
  | { readonly is: "json"; readonly schema: unknown; readonly root?: string }
  /** Any text in which none of these occurs. */
  | { readonly is: "string"; readonly until: readonly string[] }
  /** Entries in any order, each at most once, those that are required at least once. */
  | { readonly is: "entries"; readonly of: readonly ShapeEntry[]; readonly separator?: Shape }
  /** A value in Python's or Gemma's writing that a schema allows. */
  | { readonly is: "python" | "gemma"; readonly schema: unknown; readonly root?: string };

export interface ShapeEntry {
  readonly key: string;
  readonly required: boolean;
  readonly shape: Shape;
}

export interface ShapeOptions {
  /** One call and no more. */
  readonly single: boolean;
}

/** The calls of an answer, from the first character of their first mark to the last of their last. */
export function shapeOfCalls(
  { forms }: Dialect,
  tools: readonly ToolShape[],
  { single }: ShapeOptions,
): Shape | undefined {
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
  const calls: Shape = { is: "repeat", of: one, separator: text(separator), ...count };
  return section === undefined ? calls : sequence([text(section[0]), calls, text(section[1])]);
}

const text = (value: string): Shape => ({ is: "text", text: value });
const choice = (of: readonly Shape[]): Shape => (of.length === 1 ? of[0]! : { is: "choice", of });

function sequence(of: readonly Shape[]): Shape {
  const parts = of.filter((part) => part.is !== "text" || part.text !== "");
  return parts.length === 1 ? parts[0]! : { is: "sequence", of: parts };
}

function texts(pieces: readonly Piece[]): Shape[] {
  return pieces.filter((piece) => typeof piece === "string").map(text);
}

function isList(piece: Exclude<Piece, string>): boolean {
  return piece.is === "list" || piece.is === "keyed" || piece.is === "python";
}

function bracketsOf(piece: Exclude<Piece, string>): [open: string, between: string, close: string] {
  return piece.is === "python" && piece.bare === true ? ["", "\n", ""] : ["[", ", ", "]"];
}

function elementShape(piece: Exclude<Piece, string>, tool: ToolShape): Shape {
  switch (piece.is) {
    case "list":
      return objectShape(piece, tool);
    case "keyed":
      return sequence([text(`{${JSON.stringify(tool.name)}: `), jsonShape(tool), text("}")]);
    default:
      return pythonShape(tool);
  }
}

function pieceShape(piece: Piece, tool: ToolShape, form: CallForm, at: number): Shape {
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
      return { is: "gemma", schema: schemaOf(tool) };
    case "nested": {
      const next = form.call[at + 1];
      return { is: "string", until: typeof next === "string" ? [next] : [] };
    }
    default:
      return text("");
  }
}

const jsonOf = (schema: unknown): Shape => ({ is: "json", schema });
const jsonShape = (tool: ToolShape): Shape => jsonOf(schemaOf(tool));

/** Arguments are an object, and tools take what their schema names and nothing else. */
function schemaOf({ parameters }: ToolShape): unknown {
  if (typeof parameters !== "object" || parameters === null) return { type: "object" };
  return "additionalProperties" in parameters || !("properties" in parameters)
    ? { type: "object", ...parameters }
    : { type: "object", ...parameters, additionalProperties: false };
}

function objectShape(keys: ObjectKeys, tool: ToolShape): Shape {
  const open = `{${JSON.stringify(keys.name)}: ${JSON.stringify(tool.name)}, ${JSON.stringify(keys.arguments)}: `;
  return sequence([text(open), jsonShape(tool), text("}")]);
}

/** Where the schema of an argument stands in that of the tool. */
function placeOf(key: string): string {
  return `#/properties/${encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1"))}`;
}

function propertiesOf({ parameters }: ToolShape): [key: string, schema: unknown, required: boolean][] {
  const { properties, required } = (parameters ?? {}) as { properties?: Record<string, unknown>; required?: unknown };
  const wanted = new Set(Array.isArray(required) ? required : []);
  return Object.entries(properties ?? {}).map(([key, schema]) => [key, schema, wanted.has(key)]);
}

function paramsShape({ open, close, textKind }: Params, tool: ToolShape): Shape {
  const entries = propertiesOf(tool).map(([key, schema, required]): ShapeEntry => {
    const kind = kindOfArgument(tool.parameters, key);
    const before = open.map((part): Shape => {
      if (typeof part === "string") return text(part);
      return text(part.is === "key" ? key : kind === "text" ? (textKind ?? "") : kindWord(textKind, schema));
    });
    const value: Shape =
      kind === "json"
        ? { is: "json", schema: tool.parameters, root: placeOf(key) }
        : { is: "string", until: [close.trim()] };
    return { key, required, shape: sequence([...before, value, text(close)]) };
  });
  return { is: "entries", of: entries };
}

function kindWord(textKind: string | undefined, schema: unknown): string {
  if (textKind === "true") return "false";
  const type = (schema as { readonly type?: unknown } | null)?.type;
  return type === "integer" ? "number" : typeof type === "string" ? type : "object";
}

function pythonShape(tool: ToolShape): Shape {
  const entries = propertiesOf(tool).map(
    ([key, , required]): ShapeEntry => ({
      key,
      required,
      shape: sequence([text(`${key}=`), { is: "python", schema: tool.parameters, root: placeOf(key) }]),
    }),
  );
  return sequence([text(`${tool.name}(`), { is: "entries", of: entries, separator: text(", ") }, text(")")]);
}

/** Texts at which a call begins for certain: up to the name of a tool, so that prose does not arm a constraint. */
export function triggersOf({ forms }: Dialect, tools: readonly ToolShape[]): readonly string[] {
  const [form] = forms;
  if (form === undefined) return [];
  let before = form.section?.[0] ?? "";
  for (const piece of form.call) {
    if (typeof piece === "string") before += piece;
    else if (piece.is === "name") return tools.map(({ name }) => `${before}${piece.prefix ?? ""}${name}`);
    else if (piece.is === "object" || piece.is === "list") {
      const bracket = piece.is === "list" ? "[" : "";
      return tools.map(({ name }) => `${before}${bracket}{${JSON.stringify(piece.name)}: ${JSON.stringify(name)}`);
    } else if (piece.is === "keyed") return tools.map(({ name }) => `${before}[{${JSON.stringify(name)}:`);
    else if (piece.is === "python")
      return tools.map(({ name }) => `${before}${piece.bare === true ? "" : "["}${name}(`);
    else return before.trim() === "" ? [] : [before];
  }
  return before.trim() === "" ? [] : [before];
}
