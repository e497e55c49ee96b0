/** Reads what a request to Chat Completions says of tools: which there are, which may or must be called. */
import { z } from "zod";
import type { Exchange } from "../exchange/exchange.js";
import type { ExchangeTool, ToolChoice } from "../exchange/tools.js";
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

/** @throws HttpError 400 for a grammar in a language that is not known */
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
    return { name: called, description, custom: { grammar: grammarOf(format, formFrom) }, from, formFrom };
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

type Format = Readonly<Record<string, unknown>>;

/**
 * The grammar of a custom tool's text; Chat Completions has it in a field `grammar`, Responses beside the type.
 * @throws HttpError 400 for a grammar in a language that is not known
 */
export function grammarOf(
  format: Format | null | undefined,
  from: string,
): NonNullable<ExchangeTool["custom"]>["grammar"] {
  if (format?.type !== "grammar") return undefined;
  const { syntax, definition } = (format.grammar ?? format) as Format;
  if (syntax !== "lark" && syntax !== "regex") throw wrongField(from, `${from}: the syntax is lark or regex`);
  return { syntax, definition: typeof definition === "string" ? definition : "" };
}
