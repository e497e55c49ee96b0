/**
 * OpenAI's published API description as a judge of answers: the schemas of what this server answers with, taken out of
 * it with all they refer to, and validated by ajv, which knows nothing of this project.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import { packageRoot } from "../../src/package-root.js";

export const answerSchemas = [
  "CreateChatCompletionResponse",
  "CreateChatCompletionStreamResponse",
  "CreateCompletionResponse",
  "CreateEmbeddingResponse",
  "ListModelsResponse",
  "Model",
  "ErrorResponse",
  "Response",
  "ResponseStreamEvent",
] as const;

export type AnswerSchema = (typeof answerSchemas)[number];
export type Schemas = Readonly<Record<string, unknown>>;

const prefix = "#/components/schemas/";
/** Fields that people read, and fields for generators of clients only. */
const prose = new Set(["description", "title", "example", "examples", "deprecated", "discriminator"]);

/**
 * The schemas named above and all they refer to, without what validates nothing.
 * @param all `components.schemas` of the description
 */
export function extractSchemas(all: Schemas): Schemas {
  const found = new Map<string, unknown>();
  const waiting: string[] = [...answerSchemas];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (found.has(name)) continue;
    if (all[name] === undefined) throw new Error(`the description has no schema ${name}`);
    found.set(
      name,
      bare(all[name], (to) => waiting.push(to)),
    );
  }
  return Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @param named a property may be called `description`: names are kept whatever they are */
function bare(node: unknown, refers: (name: string) => void, named = false): unknown {
  if (Array.isArray(node)) return node.map((item) => bare(item, refers));
  if (typeof node !== "object" || node === null) return node;
  const kept: [string, unknown][] = [];
  for (const [key, value] of Object.entries(node)) {
    if (!named && (prose.has(key) || key.startsWith("x-"))) continue;
    if (!named && key === "$ref") refers(String(value).slice(prefix.length));
    if (named || key !== "nullable") kept.push([key, bare(value, refers, !named && key === "properties")]);
  }
  const made = Object.fromEntries(kept);
  // A word of OpenAPI 3.0 that the description still uses, in the sense it had there.
  return !named && (node as { nullable?: unknown }).nullable === true ? { anyOf: [made, { type: "null" }] } : made;
}

export function goldenSchemas(): Schemas {
  const path = join(packageRoot(), "test/golden/openai-schemas.json");
  return (JSON.parse(readFileSync(path, "utf8")) as { schemas: Schemas }).schemas;
}

/** Says what of an answer contradicts the description: a line for each fault, empty when nothing does. */
export class Description {
  private readonly validators = new Map<string, ValidateFunction>();

  constructor(schemas: Schemas) {
    // Formats are hints there (`unixtime`); unknown words are the description's own.
    const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
    ajv.addSchema({ $id: "openai", components: { schemas } });
    for (const name of answerSchemas) this.validators.set(name, ajv.compile({ $ref: `openai${prefix}${name}` }));
  }

  faults(name: AnswerSchema, answer: unknown): string[] {
    const validate = this.validators.get(name)!;
    return validate(answer) ? [] : validate.errors!.map(textOf);
  }
}

function textOf({ instancePath, message }: ErrorObject): string {
  return `${instancePath}: ${message}`;
}
