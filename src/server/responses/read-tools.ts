/**
 * The tools of the Responses API. A namespace is a prefix of its tools' names for the model; calls tell it apart again.
 */
import type { ExchangeTool, ToolChoice } from "../exchange/tools.js";
import { grammarOf } from "../openai/tools.js";
import type { ConversationInput } from "./request.js";

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

export function readTools(given: NonNullable<ConversationInput["tools"]>): ReadTools {
  const names = new InnerNames();
  const leftOut = new Set<string>();
  const read = (tool: (typeof given)[number], from: string, space: string | undefined): ExchangeTool[] => {
    if (isKind(tool, "namespace")) {
      return (tool.tools ?? []).flatMap((one, i) => read(one, `${from}.tools[${i}]`, tool.name));
    }
    if (isKind(tool, "custom")) {
      const { name, description, format } = tool;
      const about = { name: names.add(name, space), description: description ?? undefined, from };
      return [{ ...about, custom: { grammar: grammarOf(format) }, formFrom: `${from}.format` }];
    }
    if (isKind(tool, "function")) {
      const { name, description, parameters, strict } = tool;
      const about = { name: names.add(name, space), description: description ?? undefined, from };
      return [{ ...about, parameters, strict: strict === true, formFrom: `${from}.parameters` }];
    }
    leftOut.add(tool.type.slice(0, 50));
    return [];
  };
  return { tools: given.flatMap((tool, i) => read(tool, `tools[${i}]`, undefined)), names, leftOut };
}

/** Tells the kinds apart that a union with any other text for a type does not. */
function isKind<T extends { readonly type: string }, K extends "function" | "custom" | "namespace">(
  tool: T,
  kind: K,
): tool is Extract<T, { readonly type: K }> {
  return tool.type === kind;
}

export function choiceOf(choice: NonNullable<ConversationInput["tool_choice"]>, names: InnerNames): ToolChoice {
  if (typeof choice === "string") return { kind: choice };
  if (choice.type !== "allowed_tools") return { kind: "named", name: names.inner(choice.name, choice.namespace) };
  return { kind: choice.mode, among: choice.tools.map(({ name, namespace }) => names.inner(name, namespace)) };
}
