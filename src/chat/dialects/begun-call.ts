/** Writes the beginning of a call, so that a reply which has to be a call is one. */
import type { Dialect, Piece } from "./types.js";

/**
 * @param tool the tool to call; undefined: up to where its name begins
 * @returns text up to the name, or up to the arguments
 */
export function begunCall({ forms }: Dialect, tool: string | undefined): string {
  const [form] = forms;
  if (form === undefined) return "";
  let text = form.section?.[0] ?? "";
  for (const piece of form.call) {
    if (typeof piece === "string") text += piece;
    else if (piece.is === "name") {
      text += piece.prefix ?? "";
      if (tool === undefined) return text;
      text += `${tool}${piece.numbered === true ? ":0" : ""}`;
    } else return text + beginning(piece, tool);
  }
  return text;
}

function beginning(piece: Exclude<Piece, string>, tool: string | undefined): string {
  switch (piece.is) {
    case "object":
    case "list": {
      const open = `${piece.is === "list" ? "[" : ""}{"${piece.name}": "`;
      return tool === undefined ? open : `${open}${tool}", "${piece.arguments}": `;
    }
    case "keyed":
      return tool === undefined ? '[{"' : `[{"${tool}": `;
    case "python":
      return `${piece.bare === true ? "" : "["}${tool === undefined ? "" : `${tool}(`}`;
    default:
      return "";
  }
}
