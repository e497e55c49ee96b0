/** The prompt of a completion that has a text behind it. */
import { wrongField } from "../http/http-error.js";
import type { ServedModel } from "../service/model-service.js";
import { fitting } from "./request.js";

/**
 * The tokens of a completion with a `suffix`: nothing of it is cut.
 * @throws HttpError 400
 */
export async function encodeSuffix(prefix: string, suffix: string, served: ServedModel): Promise<Int32Array> {
  const { prefix: before, suffix: behind, middle } = served.text.info.fim;
  if (before === undefined || behind === undefined || middle === undefined) {
    throw wrongField("suffix", "suffix: this model was not trained to fill gaps (no FIM tokens)", "no_fim_tokens");
  }
  const { contextTokens: most } = served.info;
  const gap = { prefix, suffix };
  return fitting(await served.text.perform({ kind: "encodeGap", gap, most }), most, "prompt");
}
