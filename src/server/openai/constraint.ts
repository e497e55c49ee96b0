/** The form an answer has to have, by whichever field a client asks for it: OpenAI's, llama.cpp's, vLLM's. */
import { z } from "zod";
import type { Constraint } from "../../sampling/constraint/source.js";
import { wrongField } from "../http/http-error.js";

const schema = z.union([z.record(z.string(), z.unknown()), z.boolean()], "a JSON schema: an object, true or false");
const choices = z.array(z.string().max(100_000), "a list of texts").min(1).max(10_000);
const text = z.string().max(1 << 20);

/** vLLM's field; one of its members. */
const structured = z.looseObject({
  json: z.union([schema, text]).optional(),
  json_object: z.boolean().optional(),
  regex: text.optional(),
  choice: choices.optional(),
  grammar: text.optional(),
});

export const constraintFields = {
  response_format: z
    .looseObject({
      type: z.string(),
      json_schema: z
        .looseObject({ name: z.string().optional(), schema: schema.optional(), strict: z.boolean().nullish() })
        .optional(),
      schema: schema.optional().describe("llama.cpp's way: with type json_object."),
    })
    .optional()
    .describe("`text`, `json_object`, or `json_schema` with `{name, schema, strict}`."),
  json_schema: z.union([schema, text]).optional().describe("llama.cpp's: the answer is JSON by this schema."),
  grammar: text.optional().describe("llama.cpp's: the answer is a text of this grammar (GBNF), rule `root`."),
  structured_outputs: structured
    .optional()
    .describe("vLLM's: one of `json`, `json_object`, `regex`, `choice`, `grammar`."),
  guided_json: z.union([schema, text]).optional().describe("vLLM's older name of `structured_outputs.json`."),
  guided_regex: text.optional(),
  guided_choice: choices.optional(),
  guided_grammar: text.optional(),
};

type ConstraintInput = z.output<z.ZodObject<typeof constraintFields>>;

/** A constraint, and the field that asked for it. */
interface Asked {
  readonly param: string;
  readonly constraint: Constraint;
}

/** @throws HttpError 400 when two fields ask for something, or one cannot be read */
export function constraintOf(input: ConstraintInput): Constraint | undefined {
  const asked = [...ofFormat(input), ...ofLlama(input), ...ofStructured(input), ...ofGuided(input)];
  const [first, second] = asked;
  if (second !== undefined) {
    throw wrongField(second.param, `${second.param}: ${first!.param} says already what the answer has to look like`);
  }
  return first === undefined ? undefined : { ...first.constraint, param: first.param };
}

function ofFormat({ response_format: format }: ConstraintInput): Asked[] {
  const param = "response_format";
  const constraint = format && formatConstraint(format, param);
  return constraint === undefined ? [] : [{ param, constraint }];
}

/**
 * The constraint of a format as OpenAI's two APIs for conversations have it.
 * @throws HttpError 400
 */
export function formatConstraint(
  format: NonNullable<ConstraintInput["response_format"]>,
  param: string,
): Constraint | undefined {
  if (format.type === "text") return undefined;
  if (format.type === "json_object") return { ...json(format.schema ?? { type: "object" }, param), param };
  if (format.type !== "json_schema") {
    throw wrongField(
      `${param}.type`,
      `${param}.type: '${format.type.slice(0, 50)}' is none of text, json_object, json_schema`,
    );
  }
  const described = format.json_schema;
  const given = described?.schema ?? format.schema;
  if (given === undefined) throw wrongField(`${param}.json_schema`, `${param}.json_schema.schema: is missing`);
  return { ...json(given, param, described?.strict === true), param };
}

function ofLlama({ json_schema: given, grammar }: ConstraintInput): Asked[] {
  const asked: Asked[] = [];
  if (given !== undefined) asked.push({ param: "json_schema", constraint: json(given, "json_schema") });
  // llama.cpp's clients send an empty grammar for none.
  if (grammar !== undefined && grammar.trim() !== "") asked.push({ param: "grammar", constraint: grammarOf(grammar) });
  return asked;
}

function ofStructured({ structured_outputs: given }: ConstraintInput): Asked[] {
  const param = "structured_outputs";
  if (given === undefined) return [];
  for (const key of Object.keys(given)) {
    const known = ["json", "json_object", "regex", "choice", "grammar"].includes(key);
    // Switches of how a constraint is worked off change nothing of what it allows.
    if (!known && given[key] !== null && !/^(disable_|whitespace_pattern|backend)/.test(key)) {
      throw wrongField(`${param}.${key.slice(0, 50)}`, `${param}.${key.slice(0, 50)}: not supported by this server`);
    }
  }
  const asked: Asked[] = [];
  const add = (key: string, constraint: Constraint): void => {
    asked.push({ param: `${param}.${key}`, constraint });
  };
  if (given.json !== undefined) add("json", json(given.json, `${param}.json`));
  if (given.json_object === true) add("json_object", json({ type: "object" }, param));
  if (given.regex !== undefined) add("regex", { kind: "regex", pattern: given.regex });
  if (given.choice !== undefined) add("choice", { kind: "choice", choices: given.choice });
  if (given.grammar !== undefined) add("grammar", grammarOf(given.grammar));
  return asked;
}

function ofGuided(input: ConstraintInput): Asked[] {
  const { guided_json: given, guided_regex: pattern, guided_choice: list, guided_grammar: grammar } = input;
  return [
    ...(given !== undefined ? [{ param: "guided_json", constraint: json(given, "guided_json") }] : []),
    ...(pattern !== undefined ? [{ param: "guided_regex", constraint: { kind: "regex", pattern } as const }] : []),
    ...(list !== undefined ? [{ param: "guided_choice", constraint: { kind: "choice", choices: list } as const }] : []),
    ...(grammar !== undefined ? [{ param: "guided_grammar", constraint: grammarOf(grammar) }] : []),
  ];
}

/** @param given a schema, or the text of one */
function json(given: unknown, param: string, strict = false): Constraint {
  let parsed = given;
  if (typeof given === "string") {
    try {
      parsed = JSON.parse(given);
    } catch (error) {
      throw wrongField(param, `${param}: the schema is not JSON: ${(error as Error).message.slice(0, 200)}`);
    }
  }
  return { kind: "json_schema", schema: parsed, ...(strict && { options: { strict } }) };
}

/** GBNF's rules are written with `::=`, Lark's with `:`. */
function grammarOf(grammar: string): Constraint {
  return grammar.includes("::=") ? { kind: "gbnf", grammar } : { kind: "lark", grammar };
}
