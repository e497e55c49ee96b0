/** Biases of a request by ids and texts. */
import { wrongField } from "../http/http-error.js";
import type { ServedModel } from "../service/model-service.js";
import type { LlamaInput } from "./input.js";

/**
 * Biases by id: a text counts as each of its tokens, and digits in a text that are no id as nothing, as in
 * llama-server. A number that is no id is refused, as the API's document says.
 */
export async function biasesOf(
  given: LlamaInput["logit_bias"],
  { text, info }: ServedModel,
): Promise<[number, number | false][] | undefined> {
  if (given === undefined) return undefined;
  const pairs = Array.isArray(given) ? given : Object.entries(given);
  const found: [number, number | false][] = [];
  for (const [token, value] of pairs) {
    if (typeof token === "number" && token >= info.vocab)
      throw wrongField("logit_bias", `logit_bias: token ${token} is not in the vocabulary of ${info.vocab}`);
    if (typeof token === "number" || /^\d{1,9}$/.test(token)) {
      if (Number(token) < info.vocab) found.push([Number(token), value]);
      continue;
    }
    const request = { kind: "encode", text: token, addSpecial: false, parseSpecial: false } as const;
    for (const id of await text.perform(request)) found.push([id, value]);
  }
  return found;
}
