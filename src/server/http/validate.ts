/** A body against its schema: what is wrong is named by its field, what is unknown is told in a header. */
import type { Context } from "hono";
import type { z } from "zod";
import type { JsonObject } from "./body.js";
import { wrongField } from "./http-error.js";

/**
 * `null` counts as left out, as in the OpenAI API.
 * @throws HttpError 400 naming the first wrong field
 */
export function validate<S extends z.ZodObject>(
  schema: S,
  body: JsonObject,
): { value: z.output<S>; unknown: string[] } {
  const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
  const parsed = schema.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const param = pathText(issue.path);
    throw wrongField(param, `${param}: ${issue.message}`, "invalid_value");
  }
  const unknown = Object.keys(given).filter((key) => !Object.hasOwn(schema.shape, key));
  return { value: parsed.data, unknown };
}

/** ["messages", 0, "role"] -> `messages[0].role` */
function pathText(path: readonly PropertyKey[]): string {
  const text = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
  return text.replace(/^\./, "").slice(0, 200) || "body";
}

/** Warnings of a request go into one header, so that the shape of answers is OpenAI's whatever was sent. */
export class Warnings {
  private readonly texts: string[] = [];

  add(text: string): void {
    this.texts.push(text);
  }

  unknown(names: readonly string[]): void {
    if (names.length === 0) return;
    const shown = names.slice(0, 20).map((name) => name.slice(0, 60));
    this.add(`unknown parameters ignored: ${shown.join(", ")}${names.length > 20 ? " ..." : ""}`);
  }

  /** Names come from the request: what is no printable ASCII must not reach a header. */
  headers(): Record<string, string> {
    if (this.texts.length === 0) return {};
    const text = this.texts.join("; ").replace(/[^\x20-\x7e]/g, "?");
    return { "x-hundredweight-warnings": text.slice(0, 2000) };
  }

  apply(c: Context): void {
    for (const [name, value] of Object.entries(this.headers())) c.header(name, value);
  }
}
