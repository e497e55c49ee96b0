/** The tokenizer of a tokenizer.json alone. */

import { MetadataBuilder } from "../../src/containers/huggingface/metadata.js";
import { tokenizerFileKeys } from "../../src/containers/huggingface/tokenizer-keys.js";
import { TypedMetadata } from "../../src/formats/index.js";
import { createTokenizer, type Tokenizer } from "../../src/tokenizer/index.js";

export function folderTokenizer(path: string): Tokenizer {
  const m = new MetadataBuilder("llama");
  tokenizerFileKeys(path, { settings: {}, generation: {}, config: {} }, m);
  return createTokenizer(new TypedMetadata(m.values, path));
}
