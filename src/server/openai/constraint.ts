/** The form an answer has to have, by whichever field a client asks for it: OpenAI's, llama.cpp's, vLLM's. */
import { z } from "zod";
import type { Constraint } from "../../sampling/constraint/source.js";
import { atMostOne, given, rule, ruled } from "../http/field-rules.js";
import { wrongField } from "../http/http-error.js";
import { unlisted } from "../http/served-limits.js";
import { otherKind } from "../http/validate.js";

const schema = z.union([z.record(z.string(), z.unknown()), z.boolean()], "a JSON schema: an object, true or false");
const choices = z.array(z.string().max(100_000), "a list of texts").min(1).max(10_000);
const text = (format: string) =>
  z
    .string()
    .max(1 << 20)
    .meta({ format });
const [schemaText, grammarText, pattern] = [text("json-schema"), text("grammar"), text("regular-expression")];

const asked = { json: false, json_object: { const: false }, regex: false, choice: false, grammar: false };

/** vLLM's field; one of its members. Switches of how a constraint is worked off change nothing of what it allows. */
const structured = ruled(
  z.strictObject({
    json: z.union([schema, schemaText]).optional(),
    json_object: z.boolean().optional(),
    regex: pattern.optional(),
    choice: choices.optional(),
    grammar: grammarText.optional(),
    disable_fallback: z.unknown().optional(),
    disable_any_whitespace: z.unknown().optional(),
    disable_additional_properties: z.unknown().optional(),
    whitespace_pattern: z.unknown().optional(),
    backend: z.unknown().optional(),
  }),
  atMostOne("says already what the answer has to look like", asked),
);

/** The form of an answer, as OpenAI's two APIs for conversations have it. */
export const formatSchema = z.discriminatedUnion(
  "type",
  [
    z.looseObject({ type: z.literal("text") }),
    z.looseObject({
      type: z.literal("json_object"),
      schema: schema.optional().describe("llama.cpp's way of saying which."),
    }),
    ruled(
      z.looseObject({
        type: z.literal("json_schema"),
        json_schema: z
          .looseObject({ name: z.string().optional(), schema: schema.optional(), strict: z.boolean().nullish() })
          .optional(),
        schema: schema.optional(),
      }),
      rule("json_schema", "a `schema` is needed in it", {
        anyOf: [given("json_schema", given("schema")), given("schema")],
      }),
    ),
  ],
  otherKind((type) => `'${type}' is none of text, json_object, json_schema`),
);

export const constraintFields = {
  response_format: formatSchema.optional(),
  json_schema: z.union([schema, schemaText]).optional().describe("llama.cpp's: the answer is JSON by this schema."),
  grammar: grammarText
    .optional()
    .describe("llama.cpp's: the answer is a text of this grammar (GBNF), rule `root`; or Lark's, rule `start`."),
  structured_outputs: structured
    .optional()
    .describe(
      "vLLM's: one of `json`, `json_object`, `regex`, `choice`, `grammar`. Its older `guided_*` are taken, too.",
    ),
  // Older names, which the document leaves out: what it can say of fields that exclude one another is bounded.
  guided_json: z.union([schema, schemaText]).meta(unlisted).optional(),
  guided_regex: pattern.meta(unlisted).optional(),
  guided_choice: choices.meta(unlisted).optional(),
  guided_grammar: grammarText.meta(unlisted).optional(),
};

const says = "says already what the answer has to look like";
/** One field says which form the answer has. */
export const oneForm = atMostOne(says, {
  response_format: { properties: { type: { const: "text" } } },
  json_schema: false,
  // llama.cpp's clients send an empty grammar for none.
  grammar: { const: "" },
  structured_outputs: { properties: asked },
});

type ConstraintInput = z.output<z.ZodObject<typeof constraintFields>>;

/** A constraint, and the field that asked for it. */
interface Asked {
  readonly param: string;
  readonly constraint: Constraint;
}

/** @throws HttpError 400 when two fields ask for something, or one cannot be read */
export function constraintOf(input: ConstraintInput): Constraint | undefined {
  const [first, second] = [...ofFormat(input), ...ofLlama(input), ...ofStructured(input), ...ofGuided(input)];
  if (second !== undefined) throw wrongField(second.param, `${second.param}: ${first!.param} ${says}`);
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
export function formatConstraint(format: z.output<typeof formatSchema>, param: string): Constraint | undefined {
  if (format.type === "text") return undefined;
  if (format.type === "json_object") return { ...json(format.schema ?? { type: "object" }, param), param };
  const { json_schema: described, schema: other } = format;
  return { ...json(described?.schema ?? other, param, described?.strict === true), param };
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
