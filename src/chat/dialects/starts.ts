/** Says where the calls of a dialect begin in a text, for certain: what is written about calls must not be one. */
import type { CallStart } from "../../sampling/constraint/call-shape.js";
import { begunCall } from "./begun-call.js";
import { headerMessage, headerStyles } from "./headed.js";
import { openerOf } from "./read-calls.js";
import type { CallForm, Dialect, Piece, ToolShape } from "./types.js";

export function startsOfCalls(dialect: Dialect, tools: readonly ToolShape[]): CallStart[] {
  const [form] = dialect.forms;
  if (form === undefined || tools.length === 0) return [];
  if (dialect.messages !== undefined) {
    const { ends } = headerStyles[dialect.messages];
    const to = tools.map(({ name }) => ({ name, text: headerOf(dialect, name) }));
    return [{ is: "header", mark: headerMessage, ends, to }];
  }
  const first = form.bare === true;
  const begun = begunCall(dialect, undefined);
  // A name may mean the text for the reader, and a form without marks begins as any text in JSON does.
  const opener = first || form.contentName !== undefined ? "" : begun;
  // One mark may stand in a text about calls; what goes on behind it does not.
  const sure = begun.trim().length > (openerOf(form)?.length ?? 0);
  const named = tools.map(({ name }) => `${begun.trimStart()}${namedRest(form, name)}`);
  return [{ is: "text", opener, sure, named, first }];
}

/** Where calls would begin that may not: in headers at the recipient, behind which there is no way back. */
export function startsToBar(dialect: Dialect, tools: readonly ToolShape[]): CallStart[] {
  if (dialect.messages === undefined) return startsOfCalls(dialect, tools);
  const named = tools.flatMap(({ name }) => [` to=functions.${name}`, ` to=${name}`]);
  return [{ is: "text", opener: "", sure: false, named, first: false }];
}

/** The header of a call, up to its body. */
function headerOf(dialect: Dialect, tool: string): string {
  const text = begunCall(dialect, tool);
  return text.slice(0, text.indexOf(headerMessage) + headerMessage.length);
}

/** A name up to where it ends. */
function namedRest({ call }: CallForm, name: string): string {
  const at = call.findIndex((piece) => typeof piece !== "string" && piece.is !== "id");
  const piece = call[at] as Exclude<Piece, string> | undefined;
  switch (piece?.is) {
    case "object":
    case "list":
    case "keyed":
      return `${name}"`;
    case "python":
      return `${name}(`;
    case "name": {
      const next = call[at + 1];
      const behind = typeof next === "string" ? next : next?.is === "gemma" ? "{" : "";
      return `${name}${piece.numbered === true ? ":" : behind}`;
    }
    default:
      return name;
  }
}
