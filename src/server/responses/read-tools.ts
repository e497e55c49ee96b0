/**
 * The tools of the Responses API. A namespace is a prefix of its tools' names for the model; calls tell it apart again.
 */
import { z } from "zod";
import type { ExchangeTool, ToolChoice } from "../exchange/tools.js";
import { wrongField } from "../http/http-error.js";
import { grammarOf } from "../openai/tools.js";
import type { ConversationInput, Item } from "./request.js";

const described = z.looseObject({
  type: z.string(),
  name: z.string().regex(/^[\w.:-]{1,128}$/, "a name has up to 128 letters, digits and _ . : -"),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
  format: z.looseObject({ type: z.string() }).nullish(),
  tools: z.array(z.looseObject({ type: z.string() })).nullish(),
});

/** A tool as the client calls it. */
export interface OuterName {
  readonly name: string;
  readonly namespace?: string;
}

/** Names of tools: the client's, and the model's. */
export class InnerNames {
  private readonly outers = new Map<string, OuterName>();

  add(name: string, namespace: string | undefined): string {
    const inner = this.inner(name, namespace);
    this.outers.set(inner, { name, ...(namespace !== undefined && { namespace }) });
    return inner;
  }

  /** @param namespace of a call or a choice; anything that is no text is none */
  inner(name: string, namespace?: unknown): string {
    if (typeof namespace !== "string" || namespace === "") return name;
    return `${namespace}${namespace.endsWith("__") ? "" : "__"}${name}`;
  }

  outer(inner: string): OuterName {
    return this.outers.get(inner) ?? { name: inner };
  }
}

export interface ReadTools {
  readonly tools: readonly ExchangeTool[];
  readonly names: InnerNames;
  /** Kinds of tools that run elsewhere: this server cannot offer them. */
  readonly leftOut: ReadonlySet<string>;
}

/** @throws HttpError 400 */
export function readTools(given: readonly Item[]): ReadTools {
  const names = new InnerNames();
  const leftOut = new Set<string>();
  const read = (tool: Item, from: string, space: string | undefined): ExchangeTool[] => {
    const type = String(tool.type);
    if (!["function", "custom", "namespace"].includes(type) || (type === "namespace" && space !== undefined)) {
      leftOut.add(type.slice(0, 50));
      return [];
    }
    const parsed = described.safeParse(tool);
    if (!parsed.success) {
      const { path, message } = parsed.error.issues[0]!;
      const param = [from, ...path.map(String)].join(".");
      throw wrongField(param, `${param}: ${message}`);
    }
    const { name, description, parameters, strict, format, tools } = parsed.data;
    if (type === "namespace") return (tools ?? []).flatMap((one, i) => read(one, `${from}.tools[${i}]`, name));
    const about = { name: names.add(name, space), description: description ?? undefined, from };
    if (type === "custom") {
      const formFrom = `${from}.format`;
      return [{ ...about, custom: { grammar: grammarOf(format, formFrom) }, formFrom }];
    }
    return [{ ...about, parameters, strict: strict === true, formFrom: `${from}.parameters` }];
  };
  return { tools: given.flatMap((tool, i) => read(tool, `tools[${i}]`, undefined)), names, leftOut };
}

/** @throws HttpError 400 for tools that run elsewhere */
export function choiceOf(
  choice: NonNullable<ConversationInput["tool_choice"]>,
  names: InnerNames,
): ToolChoice | undefined {
  if (typeof choice === "string") return { kind: choice };
  const named = (tool: unknown, at: string): string => {
    const { type, name, namespace } = (tool ?? {}) as Item;
    if ((type === "function" || type === "custom") && typeof name === "string") return names.inner(name, namespace);
    throw wrongField(at, `${at}: a tool of type function or custom, by its name`, "unsupported_tool");
  };
  const { type, mode, tools } = choice as Item;
  if (type !== "allowed_tools") return { kind: "named", name: named(choice, "tool_choice") };
  if ((mode !== "auto" && mode !== "required") || !Array.isArray(tools) || tools.length === 0) {
    throw wrongField("tool_choice", "tool_choice: allowed_tools has a mode, auto or required, and a list of tools");
  }
  return { kind: mode, among: tools.map((tool, i) => named(tool, `tool_choice.tools[${i}]`)) };
}
