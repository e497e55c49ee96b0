/** Takes of OpenAI's descriptions of tools what the reader of replies needs. */
import type { ToolShape } from "./dialects/types.js";

/** Custom tools take one text; to a model they are functions with one argument of this name. */
export const customInput = "input";

/** @param tools as in OpenAI's API; what has no name is left out */
export function toolShapes(tools: readonly unknown[]): ToolShape[] {
  return tools.flatMap((tool) => {
    const inner = member(tool, "function") ?? tool;
    const name = member(inner, "name");
    return typeof name === "string" ? [{ name, parameters: member(inner, "parameters") }] : [];
  });
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
