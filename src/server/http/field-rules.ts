/**
 * Rules between the fields of a body. A rule is a JSON Schema: the same text checks the body and stands in
 * `/openapi.json`, so that the document refuses what the server refuses.
 */
import type { z } from "zod";
import { SchemaDocument } from "../../sampling/constraint/json/documents.js";
import { validateDocument } from "../../sampling/constraint/json/validate.js";

export interface FieldRule {
  /** The JSON Schema that bodies obey, in which `null` is a field that is left out. */
  readonly says: object;
  /** Names the field that breaks it, and says behind that what is wrong. */
  broken(value: Readonly<Record<string, unknown>>): { readonly param: string; readonly message: string };
}

/** The same schema with rules that hold when its fields are right by themselves. */
export function ruled<S extends z.ZodObject>(schema: S, ...rules: readonly FieldRule[]): S {
  const checked = schema.superRefine((value, context) => {
    for (const { says, broken } of rules) {
      if (obeys(value, says)) continue;
      const { param, message } = broken(value);
      context.addIssue({ code: "custom", path: [param], message });
    }
  });
  return checked.meta({ allOf: rules.map(({ says }) => says) });
}

/** Rules are read once, not at each request. */
const documents = new WeakMap<object, SchemaDocument>();

function obeys(value: unknown, says: object | boolean): boolean {
  if (typeof says === "boolean") return says;
  let document = documents.get(says);
  if (document === undefined) {
    document = new SchemaDocument(says);
    documents.set(says, document);
  }
  return validateDocument(document, value)?.length === 0;
}

export function rule(param: string, message: string, says: object): FieldRule {
  return { says, broken: () => ({ param, message }) };
}

/** The types of a field that is there: `null` is not. */
const something = { type: ["boolean", "number", "string", "array", "object"] };

export function given(field: string, form: object = something): object {
  return { required: [field], properties: { [field]: form } };
}

/** One of these fields is needed, or more. */
export function needsOne(message: string, ...fields: readonly string[]): FieldRule {
  return rule(fields[0]!, message, { anyOf: fields.map((field) => given(field)) });
}

/** Fields that ask for the same, each with its forms in which it asks for nothing: all but one ask for nothing. */
export function atMostOne(message: string, idle: Readonly<Record<string, object | boolean>>): FieldRule {
  const forms = Object.entries(idle).map(([field, form]) => [field, { anyOf: [{ type: "null" }, form] }] as const);
  const without = (asking: string): object => ({
    properties: Object.fromEntries(forms.filter(([field]) => field !== asking)),
  });
  return {
    says: { anyOf: forms.map(([field]) => without(field)) },
    broken(value) {
      const asking = Object.entries(idle).filter(([field, form]) => field in value && !obeys(value[field], form));
      return { param: asking[1]?.[0] ?? "", message: `${asking[0]?.[0]} ${message}` };
    },
  };
}

/** Where a field asks for something, which it does not in these forms, others are needed. */
export function unless(field: string, idle: object, needed: object): object {
  return { anyOf: [{ properties: { [field]: { anyOf: [{ type: "null" }, idle] } } }, needed] };
}
