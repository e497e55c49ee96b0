/**
 * Chat templates as a model file holds them; apart from the engine that runs them, which who only looks does not load.
 */
import { HundredweightError } from "../errors.js";
import type { Metadata } from "../formats/types.js";

/** Template texts of a file by name; the unnamed one is "default". */
export function chatTemplates(metadata: Metadata): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const key of metadata.keys()) {
    const name = key === "tokenizer.chat_template" ? "default" : /^tokenizer\.chat_template\.(.+)$/.exec(key)?.[1];
    if (name === undefined) continue;
    const source = metadata.string(key);
    if (source !== undefined && source !== "") found.set(name, source);
  }
  return found;
}

/**
 * The template of a file: the variant `name`, or the default one.
 * @throws TEMPLATE_MISSING
 */
export function chatTemplate(metadata: Metadata, name?: string): string {
  const all = chatTemplates(metadata);
  const found = all.get(name ?? "default");
  if (found !== undefined) return found;
  const others = all.size > 0 ? ` (it has ${[...all.keys()].join(", ")})` : "";
  throw new HundredweightError(
    "TEMPLATE_MISSING",
    `the model file has no ${name === undefined ? "" : `'${name}' `}chat template${others}; prompt it with --raw`,
  );
}
