/** Reads what a request to Chat Completions says of tools: which there are, which may or must be called. */
import { z } from "zod";
import type { Exchange } from "../exchange/exchange.js";
import { toolName } from "../exchange/tool-name.js";
import type { ExchangeTool, ToolChoice } from "../exchange/tools.js";
import { given, rule, unless } from "../http/field-rules.js";
import { otherKind } from "../http/validate.js";

const grammars = [
  { syntax: z.literal("lark"), definition: z.string().meta({ format: "lark" }) },
  { syntax: z.literal("regex"), definition: z.string().meta({ format: "regular-expression" }) },
] as const;
const [lark, regex] = grammars;
const badSyntax = "the syntax is lark or regex";

/** The text of a custom tool: any, or one of a grammar. */
export const textFormat = z.discriminatedUnion(
  "type",
  [
    z.looseObject({ type: z.literal("text") }),
    z.discriminatedUnion(
      "syntax",
      [z.looseObject({ type: z.literal("grammar"), ...lark }), z.looseObject({ type: z.literal("grammar"), ...regex })],
      badSyntax,
    ),
  ],
  otherKind((type) => `'${type}' is none of text, grammar`),
);

/** The same in Chat Completions, which has a field for the grammar; the other form is taken, too. */
const chatFormat = z.union([
  textFormat,
  z.looseObject({
    type: z.literal("grammar"),
    grammar: z.discriminatedUnion("syntax", [z.looseObject(lark), z.looseObject(regex)], badSyntax),
  }),
]);

const functionTool = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name: toolName,
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

const customTool = z.looseObject({
  type: z.literal("custom"),
  custom: z.looseObject({
    name: toolName,
    description: z.string().optional(),
    format: chatFormat.nullish(),
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

/** A choice of tools needs some. */
export const someTool = rule(
  "tool_choice",
  "there are no tools to choose from",
  unless("tool_choice", { enum: ["none", "auto"] }, given("tools", { type: "array", minItems: 1 })),
);

type ToolInput = z.output<z.ZodObject<typeof toolFields>>;

export function toolsOf({
  tools = [],
  tool_choice: choice,
  parallel_tool_calls: parallelCalls,
}: ToolInput): Pick<Exchange, "tools" | "toolChoice" | "parallelCalls"> {
  return { tools: tools.map(toolOf), toolChoice: choice && chosen(choice), parallelCalls };
}

type Tool = NonNullable<ToolInput["tools"]>[number];

function toolOf(tool: Tool, index: number): ExchangeTool {
  const from = `tools[${index}]`;
  if (tool.type === "custom") {
    const { name: called, description, format } = tool.custom;
    const formFrom = `${from}.custom.format`;
    return { name: called, description, custom: { grammar: grammarOf(format) }, from, formFrom };
  }
  const { name: called, description, parameters, strict, ...more } = tool.function;
  const formFrom = `${from}.function.parameters`;
  return { name: called, description, parameters, strict: strict === true, more, from, formFrom };
}

function nameOf(tool: z.output<typeof named>): string {
  return tool.type === "function" ? tool.function.name : tool.custom.name;
}

function chosen(choice: NonNullable<ToolInput["tool_choice"]>): ToolChoice {
  if (typeof choice === "string") return { kind: choice };
  if (choice.type !== "allowed_tools") return { kind: "named", name: nameOf(choice) };
  const { mode, tools } = choice.allowed_tools;
  return { kind: mode, among: tools.map(nameOf) };
}

/** The grammar of a custom tool's text. */
export function grammarOf(
  format: z.output<typeof chatFormat> | null | undefined,
): NonNullable<ExchangeTool["custom"]>["grammar"] {
  if (format?.type !== "grammar") return undefined;
  const given = "syntax" in format ? format : format.grammar;
  const { syntax, definition } = given as { readonly syntax: "lark" | "regex"; readonly definition: string };
  return { syntax, definition };
}
