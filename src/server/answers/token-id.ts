/** Ids of tokens in bodies. */
import { z } from "zod";
import { marked } from "../http/served-limits.js";

/** One of the vocabulary; whether it is in it is told when the model is known. */
export const tokenId = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)
  .meta(marked({ limits: { maximum: "token" } }));

/** A prompt of the model's own tokens. */
export const tokenIds = z
  .array(tokenId)
  .min(1)
  .meta(marked({ limits: { maxItems: "context" } }));
