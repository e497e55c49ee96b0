/** Tiny models that make text, by architecture and variant; a reranker's text is that of the model it was made of. */
import { decoders } from "../../src/models/index.js";

export const textVariants = decoders.flatMap(({ name, tiny }) =>
  tiny.filter(({ variant }) => variant !== "reranker").map(({ variant }) => ({ arch: name, variant })),
);
