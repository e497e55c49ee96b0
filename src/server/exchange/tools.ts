/** Reads what a request says of tools, whichever API it came by: which there are, which may or must be called. */
import { customInput } from "../../chat/dialects/custom-input.js";
import type { ToolShape } from "../../chat/index.js";
import { toolShapes } from "../../chat/tool-shapes.js";
import { wrongField } from "../http/http-error.js";

export interface ExchangeTool {
  readonly name: string;
  readonly description?: string | undefined;
  /** JSON schema of the arguments. */
  readonly parameters?: Readonly<Record<string, unknown>> | null | undefined;
  /** A part of the schema that cannot be enforced is an error. */
  readonly strict?: boolean | undefined;
  /** Further fields, for templates that read them. */
  readonly more?: Readonly<Record<string, unknown>> | undefined;
  /** A custom tool: it takes a text instead of arguments, which may have to be of a grammar. */
  readonly custom?: { readonly grammar?: TextGrammar | undefined } | undefined;
  /** The field that describes it: errors name it. */
  readonly from: string;
  /** The field of its schema or grammar. */
  readonly formFrom: string;
}

interface TextGrammar {
  readonly syntax: "lark" | "regex";
  readonly definition: string;
}

export type ToolChoice =
  | { readonly kind: "auto" | "required"; readonly among?: readonly string[] }
  | { readonly kind: "none" }
  /** A call of this tool, and only one. */
  | { readonly kind: "named"; readonly name: string };

/** The tools of a request, as the rest of the server needs them. */
export interface AskedTools {
  /** For the template, custom tools as functions: all, whichever may be called, so that the prompt stays the same. */
  readonly tools: readonly unknown[];
  /** Those that may be called: for the reader of replies, and the constraint on calls. */
  readonly shapes: readonly ToolShape[];
  /** The others, where none may be. */
  readonly barred: readonly ToolShape[] | undefined;
  /** Names of custom tools. */
  readonly custom: ReadonlySet<string>;
  readonly mustCall: true | string | undefined;
  readonly single: boolean;
}

/** Names that tools have which have another's: calls name one tool. */
export function repeatedNames(tools: readonly ExchangeTool[]): readonly string[] {
  const names = tools.map(({ name }) => name);
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))];
}

/**
 * Reads tools and choice; the first of several tools of one name is meant.
 * @throws HttpError 400 for a choice of what is not there
 */
export function askedTools(
  all: readonly ExchangeTool[],
  choice: ToolChoice = { kind: "auto" },
  parallel = true,
): AskedTools {
  const names = all.map(({ name }) => name);
  const tools = all.filter(({ name }, i) => names.indexOf(name) === i);
  const asks = choice.kind === "required" || choice.kind === "named" || (choice.kind === "auto" && choice.among);
  if (tools.length === 0 && asks) throw wrongField("tool_choice", "tool_choice: there are no tools to choose from");
  const listed = "among" in choice ? choice.among : choice.kind === "named" ? [choice.name] : [];
  for (const one of listed ?? [])
    if (!names.includes(one)) {
      throw wrongField("tool_choice", `tool_choice: there is no tool '${one.slice(0, 100)}' in tools`);
    }
  const among = "among" in choice && choice.among !== undefined ? new Set(choice.among) : undefined;
  const given = choice.kind === "none" ? [] : tools.filter(({ name }) => among === undefined || among.has(name));
  return {
    tools: tools.map(asFunction),
    shapes: given.map(shapeOf),
    barred: choice.kind === "none" ? tools.map(shapeOf) : undefined,
    custom: new Set(given.filter(({ custom }) => custom !== undefined).map(({ name }) => name)),
    mustCall: choice.kind === "required" ? true : choice.kind === "named" ? choice.name : undefined,
    // A tool that was named is called once.
    single: !parallel || choice.kind === "named",
  };
}

const noParameters = { type: "object", properties: {} };

/** A custom tool is, to a model, a function that takes one text. */
function asFunction({ name, description, parameters, more, custom }: ExchangeTool): unknown {
  if (custom === undefined) {
    const described = description !== undefined && { description };
    return { type: "function", function: { name, ...described, ...more, parameters: parameters ?? noParameters } };
  }
  const { grammar } = custom;
  const form = grammar === undefined ? "" : `\nThe text follows this grammar:\n${grammar.definition}`;
  return {
    type: "function",
    function: {
      name,
      description: `${description ?? ""}${form}`,
      parameters: {
        type: "object",
        properties: { [customInput]: { type: "string", description: "The text that the tool takes." } },
        required: [customInput],
      },
    },
  };
}

function shapeOf(tool: ExchangeTool): ToolShape {
  const [shape] = toolShapes([asFunction(tool)]);
  const { formFrom: from, custom, strict } = tool;
  const grammar = custom?.grammar !== undefined && { grammar: custom.grammar };
  return { ...shape!, from, ...(strict === true && custom === undefined && { strict: true }), ...grammar };
}

/** The text that a call gives to a custom tool. */
export function inputOf(json: string): string {
  try {
    const value = (JSON.parse(json) as Readonly<Record<string, unknown>>)[customInput];
    return typeof value === "string" ? value : json;
  } catch {
    return json;
  }
}
