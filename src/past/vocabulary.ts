/** A name for what token ids mean: a session is a list of them, and says nothing with another vocabulary. */
import { createHash } from "node:crypto";
import { PackedStrings, TypedMetadata } from "../formats/metadata.js";
import type { Metadata } from "../formats/types.js";

/** Keys by which texts become ids, and ids texts. Chat templates are not among them: they change no id. */
const counted = /^tokenizer\.(ggml|huggingface)\./;

/** SHA-256 of tokens, merges, scores, types, special ids and settings, in the order of their names. */
export function vocabularyHash(metadata: Metadata): string {
  const hash = createHash("sha256");
  for (const key of [...metadata.keys()].filter((name) => counted.test(name)).sort()) {
    hash.update(`${key}\n`);
    const value = metadata instanceof TypedMetadata ? metadata.typed(key)?.value : metadata.get(key);
    if (value instanceof PackedStrings) hash.update(value.bytes).update(new Uint8Array(value.offsets.buffer));
    else if (ArrayBuffer.isView(value)) hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    else hash.update(`${String(value)}\n`);
  }
  return hash.digest("hex");
}
