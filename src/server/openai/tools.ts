/** Reads what a request says of tools: which there are, which may or must be called. */
import { z } from "zod";
import { customInput } from "../../chat/dialects/custom-input.js";
import type { ToolShape } from "../../chat/index.js";
import { toolShapes } from "../../chat/tool-shapes.js";
import { wrongField } from "../http/http-error.js";

const name = z.string().regex(/^[\w.:-]{1,128}$/, "a name has up to 128 letters, digits and _ . : -");

const functionTool = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name,
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

const customTool = z.looseObject({
  type: z.literal("custom"),
  custom: z.looseObject({
    name,
    description: z.string().optional(),
    format: z.looseObject({ type: z.string() }).nullish(),
  }),
});

const named = z.union([
  z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: z.string() }) }),
  z.looseObject({ type: z.literal("custom"), custom: z.looseObject({ name: z.string() }) }),
]);

const allowed = z.looseObject({
  type: z.literal("allowed_tools"),
  allowed_tools: z.looseObject({ mode: z.enum(["auto", "required"]), tools: z.array(named).min(1) }),
});

export const toolFields = {
  tools: z
    .array(
      z.discriminatedUnion("type", [functionTool, customTool], "a tool of type function or custom"),
      "a list of tools",
    )
    .max(1024)
    .optional(),
  tool_choice: z
    .union(
      [z.enum(["none", "auto", "required"]), named, allowed],
      "none, auto, required, a tool by name, or allowed_tools",
    )
    .optional(),
  parallel_tool_calls: z.boolean().optional().describe("Default true; false: at most one call an answer."),
};

type ToolInput = z.output<z.ZodObject<typeof toolFields>>;

/** The tools of a request, as the rest of the server needs them. */
export interface AskedTools {
  /** For the template, custom tools as functions. */
  readonly tools: readonly unknown[];
  /** For the reader of replies, and the constraint on calls. */
  readonly shapes: readonly ToolShape[];
  /** Names of custom tools. */
  readonly custom: ReadonlySet<string>;
  readonly mustCall: true | string | undefined;
  readonly single: boolean;
}

/** @throws HttpError 400 for a choice of what is not there */
export function toolsOf({ tools = [], tool_choice: choice, parallel_tool_calls: parallel }: ToolInput): AskedTools {
  const names = tools.map(nameOf);
  names.forEach((one, i) => {
    if (names.indexOf(one) !== i) throw wrongField(`tools[${i}]`, `tools[${i}]: there is a tool '${one}' before`);
  });
  const none = choice === "none" || tools.length === 0;
  if (tools.length === 0 && choice !== undefined && choice !== "none" && choice !== "auto")
    throw wrongField("tool_choice", "tool_choice: there are no tools to choose from");
  const { listed, mustCall } = chosen(choice, names);
  const given = none ? [] : tools.filter((tool) => listed === undefined || listed.has(nameOf(tool)));
  const forTemplate = given.map(asFunction);
  return {
    tools: forTemplate,
    shapes: given.map((tool) => shapeOf(tool, tools.indexOf(tool))),
    custom: new Set(given.filter((tool) => tool.type === "custom").map(nameOf)),
    mustCall,
    // A tool that was named is called once.
    single: parallel === false || typeof mustCall === "string",
  };
}

type Tool = NonNullable<ToolInput["tools"]>[number];

function nameOf(tool: Tool | z.output<typeof named>): string {
  return tool.type === "function" ? tool.function.name : tool.custom.name;
}

function chosen(
  choice: ToolInput["tool_choice"],
  names: readonly string[],
): { listed: ReadonlySet<string> | undefined; mustCall: AskedTools["mustCall"] } {
  const mustBeThere = (one: string): string => {
    if (names.includes(one)) return one;
    throw wrongField("tool_choice", `tool_choice: there is no tool '${one.slice(0, 100)}' in tools`);
  };
  if (choice === undefined || typeof choice === "string")
    return { listed: undefined, mustCall: choice === "required" ? true : undefined };
  if (choice.type !== "allowed_tools") return { listed: undefined, mustCall: mustBeThere(nameOf(choice)) };
  const { mode, tools } = choice.allowed_tools;
  const listed = new Set(tools.map((tool) => mustBeThere(nameOf(tool))));
  return { listed, mustCall: mode === "required" ? true : undefined };
}

/** A custom tool is, to a model, a function that takes one text. */
function asFunction(tool: Tool): unknown {
  if (tool.type === "function") {
    const { strict: _, ...inner } = tool.function;
    return { type: "function", function: { ...inner, parameters: inner.parameters ?? noParameters } };
  }
  const { name: called, description = "", format } = tool.custom;
  const grammar = format?.type === "grammar" ? `\nThe text follows this grammar:\n${definitionOf(format)}` : "";
  return {
    type: "function",
    function: {
      name: called,
      description: `${description}${grammar}`,
      parameters: {
        type: "object",
        properties: { [customInput]: { type: "string", description: "The text that the tool takes." } },
        required: [customInput],
      },
    },
  };
}

function shapeOf(tool: Tool, index: number): ToolShape {
  const [shape] = toolShapes([asFunction(tool)]);
  if (tool.type === "function") {
    const from = `tools[${index}].function.parameters`;
    return { ...shape!, from, ...(tool.function.strict === true && { strict: true }) };
  }
  const from = `tools[${index}].custom.format`;
  return { ...shape!, from, ...grammarOf(tool.custom.format, from) };
}

/** @throws HttpError 400 for a grammar in a language that is not known */
function grammarOf(format: Format | null | undefined, from: string): Pick<ToolShape, "grammar"> {
  if (format?.type !== "grammar") return {};
  const { syntax } = (format.grammar ?? format) as Readonly<Record<string, unknown>>;
  if (syntax !== "lark" && syntax !== "regex") throw wrongField(from, `${from}: the syntax is lark or regex`);
  return { grammar: { syntax, definition: definitionOf(format) } };
}

type Format = Readonly<Record<string, unknown>>;

const noParameters = { type: "object", properties: {} };

function definitionOf(format: Format): string {
  const grammar = (format.grammar ?? format) as Readonly<Record<string, unknown>>;
  return typeof grammar.definition === "string" ? grammar.definition : "";
}
