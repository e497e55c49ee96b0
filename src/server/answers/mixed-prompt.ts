/** Prompts as llama-server takes them: texts, ids, and both in one list. */
import { z } from "zod";
import { wrongField } from "../http/http-error.js";
import { marked } from "../http/served-limits.js";
import type { ServedModel } from "../service/model-service.js";
import { fitting } from "./request.js";
import { tokenId } from "./token-id.js";

const object = z.strictObject({ prompt_string: z.string() });
const inParts = z
  .array(z.union([tokenId, z.string()]))
  .min(1)
  .meta(marked({ limits: { maxItems: "context" } }));
const oneText = z.union([z.string(), object, inParts]);

/** A text, ids, both in one list; or a list of such prompts. */
export const mixedPrompt = z.union(
  [z.string(), object, inParts, z.array(z.union([z.string(), object, inParts])).min(1)],
  "a text, a list of token ids and texts, or a list of such prompts",
);

export type OnePrompt = z.output<typeof oneText>;

/** @returns prompts, and whether there were several */
export function promptsOf(prompt: z.output<typeof mixedPrompt>): { prompts: readonly OnePrompt[]; several: boolean } {
  if (!Array.isArray(prompt)) return { prompts: [prompt], several: false };
  // With a number in it, it is one text in parts; without one it is a list of prompts.
  const several = !prompt.some((part) => typeof part === "number");
  return { prompts: several ? (prompt as readonly OnePrompt[]) : [prompt as (string | number)[]], several };
}

interface TextOptions {
  readonly parse_special?: boolean | undefined;
  readonly add_special?: boolean | undefined;
}

/**
 * BOS comes before a text and before a list that begins with one; a list that begins with ids is as it is.
 * @throws HttpError 400 for ids out of range, a prompt that is too long
 */
export async function encodeMixed(
  prompt: OnePrompt,
  { info, text }: ServedModel,
  { parse_special: parseSpecial = true, add_special: addSpecial = true }: TextOptions,
  param = "prompt",
): Promise<Int32Array> {
  const { contextTokens: most, vocab } = info;
  const encode = async (part: string, special: boolean): Promise<Int32Array> => {
    const request = { kind: "encodePrompt", text: part, addSpecial: special, parseSpecial, most } as const;
    return fitting(await text.perform(request), most, param);
  };
  const parts = typeof prompt === "string" ? [prompt] : Array.isArray(prompt) ? prompt : [prompt.prompt_string];
  const ids: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (typeof part === "string") {
      for (const id of await encode(part, addSpecial && i === 0)) ids.push(id);
    } else {
      if (part >= vocab) throw wrongField(param, `${param}: token ${part} is not in the vocabulary of ${vocab}`);
      ids.push(part);
    }
    if (ids.length > most) break;
  }
  // A model needs one token to continue; what begins a text is what an empty one has.
  const start = text.info.bos ?? text.info.eos;
  if (ids.length === 0 && start === undefined) {
    throw wrongField(param, `${param}: an empty text, and the model has no token to begin with`);
  }
  return fitting(Int32Array.from(ids.length === 0 ? [start!] : ids), most, param);
}
