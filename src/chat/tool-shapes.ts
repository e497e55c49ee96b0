/** Takes of OpenAI's descriptions of tools what the reader of replies needs. */
import { isObject } from "../json-object.js";
import type { ToolShape } from "./dialects/types.js";

/** @param tools as in OpenAI's API; what has no name is left out */
export function toolShapes(tools: readonly unknown[]): ToolShape[] {
  return tools.flatMap((tool) => {
    const inner = member(tool, "function") ?? tool;
    const name = member(inner, "name");
    if (typeof name !== "string") return [];
    const strict = member(inner, "strict") === true;
    return [{ name, parameters: member(inner, "parameters"), ...(strict && { strict }) }];
  });
}

/** The same tools with a description, be it empty, of each and of all their arguments. */
export function describedTools(tools: readonly unknown[]): unknown[] {
  return tools.map((tool) => {
    const inner = member(tool, "function");
    const parameters = member(inner, "parameters");
    const properties = member(parameters, "properties");
    if (!isObject(tool) || !isObject(inner)) return tool;
    const described = isObject(properties) && {
      parameters: {
        ...(parameters as object),
        properties: Object.fromEntries(
          Object.entries(properties).map(([key, value]) => [
            key,
            isObject(value) ? { ...value, description: value.description ?? "" } : value,
          ]),
        ),
      },
    };
    return { ...tool, function: { ...inner, description: inner.description ?? "", ...described } };
  });
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
