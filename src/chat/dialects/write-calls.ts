/** Writes tool calls as a dialect has them: for models whose template cannot, and to prove that they are read back. */
import { gemmaQuote } from "./literals.js";
import type { Dialect, ObjectKeys, Params, Piece, WrittenCall } from "./types.js";

/** The text of the calls, as the first form of the dialect writes it. */
export function writeCalls({ forms }: Dialect, calls: readonly WrittenCall[]): string {
  const [form] = forms;
  if (form === undefined || calls.length === 0) return "";
  const { section = ["", ""], call, separator = "" } = form;
  const together = call.some((piece) => typeof piece !== "string" && allCalls.has(piece.is));
  const texts = together
    ? [call.map((piece) => writeAll(piece, calls)).join("")]
    : calls.map((one, index) => call.map((piece) => writePiece(piece, one, index)).join(""));
  return section[0] + texts.join(separator) + section[1];
}

/** Pieces that hold all calls of an answer. */
const allCalls = new Set(["list", "keyed", "python"]);

function writeAll(piece: Piece, calls: readonly WrittenCall[]): string {
  if (typeof piece === "string") return piece;
  switch (piece.is) {
    case "list":
      return `[${calls.map((call) => writeObject(piece, call)).join(", ")}]`;
    case "keyed":
      return `[${calls.map((call) => json({ [call.name]: call.arguments })).join(", ")}]`;
    case "python": {
      const texts = calls.map(({ name, arguments: given }) => {
        const parts = Object.entries(given).map(([key, value]) => `${key}=${python(value)}`);
        return `${name}(${parts.join(", ")})`;
      });
      return piece.bare === true ? texts.join("\n") : `[${texts.join(", ")}]`;
    }
    default:
      return "";
  }
}

function writePiece(piece: Piece, call: WrittenCall, index: number): string {
  if (typeof piece === "string") return piece;
  switch (piece.is) {
    case "name":
      return `${piece.prefix ?? ""}${call.name}${piece.numbered === true ? `:${index}` : ""}`;
    case "id":
      return call.id ?? String(index + 1);
    case "json":
      return json(call.arguments);
    case "object":
      return writeObject(piece, call);
    case "params":
      return Object.entries(call.arguments)
        .map(([key, value]) => writeParam(piece, key, value))
        .join("");
    case "gemma":
      return gemma(call.arguments);
    case "nested":
      return Object.entries(call.arguments)
        .map(([key, value]) => nested(piece.prefix, key, value))
        .join("");
    default:
      return "";
  }
}

function writeObject(keys: ObjectKeys, { name, id, arguments: given }: WrittenCall): string {
  const named = keys.id !== undefined && id !== undefined ? { [keys.id]: id } : {};
  return json({ [keys.name]: name, [keys.arguments]: given, ...named });
}

function writeParam({ open, close, textKind = "" }: Params, key: string, value: unknown): string {
  const isText = typeof value === "string";
  // Where only "true" and "false" tell, the other word is plain; names of types are JSON's.
  const kind = isText ? textKind : textKind === "true" ? "false" : typeOf(value);
  const before = open.map((part) => (typeof part === "string" ? part : part.is === "key" ? key : kind)).join("");
  return before + (isText ? value : json(value)) + close;
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/** With Python's spaces, as templates print it. */
export function json(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(json).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}: ${json(member)}`).join(", ")}}`;
}

function python(value: unknown): string {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null || value === undefined) return "None";
  if (typeof value === "string") return `"${value.replace(/[\\"]/g, "\\$&").replace(/[\n\r\t]/g, escapeOf)}"`;
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return String(value);
  return `{${Object.entries(value)
    .map(([key, member]) => `${python(key)}: ${python(member)}`)
    .join(", ")}}`;
}

const escapeOf = (character: string): string => JSON.stringify(character).slice(1, -1);

function gemma(value: unknown): string {
  if (typeof value === "string") return gemmaQuote + value + gemmaQuote;
  if (Array.isArray(value)) return `[${value.map(gemma).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  return `{${Object.entries(value)
    .map(([key, member]) => `${key}:${gemma(member)}`)
    .join(",")}}`;
}

function nested(prefix: string, key: string, value: unknown): string {
  const inner = Array.isArray(value)
    ? value.map((item) => nested(prefix, "item", item)).join("")
    : typeof value === "object" && value !== null
      ? Object.entries(value)
          .map(([name, member]) => nested(prefix, name, member))
          .join("")
      : typeof value === "string"
        ? value
        : json(value);
  return `${prefix}<${key}>${inner}${prefix}</${key}>`;
}
