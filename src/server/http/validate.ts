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
    const { path, message } = deepest(parsed.error.issues[0]!);
    const param = pathText(path);
    const code = !message.includes("not supported")
      ? "invalid_value"
      : /content\[\d+\]/.test(param)
        ? "unsupported_content"
        : "unsupported_parameter";
    throw wrongField(param, `${param}: ${message}`, code);
  }
  const unknown = Object.keys(given).filter((key) => !Object.hasOwn(schema.shape, key));
  return { value: parsed.data, unknown };
}

interface Wrong {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Tells what is wrong: where several forms are possible, the one that fits furthest says it. */
function deepest(issue: z.core.$ZodIssue): Wrong {
  const { path, message } = issue;
  if (issue.code === "unrecognized_keys") {
    return { path: [...path, issue.keys[0]!.slice(0, 50)], message: "not supported by this server" };
  }
  if (issue.code !== "invalid_union") return { path, message };
  // A kind that is not there is the fault of the whole.
  if ("note" in issue && message.includes("not supported")) return { path: path.slice(0, -1), message };
  const inner = issue.errors.flatMap(([first]) => (first === undefined ? [] : [deepest(first)]));
  const most = Math.max(0, ...inner.map((one) => one.path.length));
  const deep = inner.filter((one) => one.path.length === most);
  // Of another type is what every form but one is.
  const found = deep.find((one) => one.path.at(-1) !== "type") ?? deep[0];
  return most < 1 || found === undefined
    ? { path, message }
    : { path: [...path, ...found.path], message: found.message };
}

/** Says of an object of many kinds that none of them has this `type`. */
export function otherKind(what: (type: string) => string): { error: z.core.$ZodErrorMap } {
  return {
    error: ({ code, input }) => {
      const { type } = (input ?? {}) as { readonly type?: unknown };
      if (code !== "invalid_union") return undefined;
      return typeof type === "string" ? what(type.slice(0, 50)) : "a type is needed";
    },
  };
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
