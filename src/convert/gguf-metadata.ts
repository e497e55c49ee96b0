/** The metadata of the GGUF file that is written, under the names that llama.cpp reads. */
import { fileTypeNumber } from "../formats/file-types.js";
import { TypedMetadata, type TypedValue } from "../formats/metadata.js";
import type { Checkpoint } from "../formats/types.js";
import type { MadeTensor } from "./gguf-tensors.js";
import { tokenizerMetadata } from "./tokenizer-metadata.js";

/** ggml's version of its block types. */
const quantizationVersion = 2;
/** Keys of a split model, and of the arrangement of the file that was read. */
const notCopied = /^(split\.|general\.alignment$)/;

/**
 * @param rows of the token embedding: llama.cpp wants as many tokens
 * @throws TOKENIZER_INVALID
 */
export function ggufMetadata(
  checkpoint: Checkpoint,
  tensors: readonly MadeTensor[],
  rows: number,
): Map<string, TypedValue> {
  const { metadata } = checkpoint;
  const out = new Map<string, TypedValue>();
  const source = metadata instanceof TypedMetadata ? metadata.entries() : [];
  for (const [key, value] of source) if (!notCopied.test(key)) out.set(key, value);
  const arch = metadata.string("general.architecture")!;
  const put = (key: string, value: TypedValue): void => {
    if (!out.has(key)) out.set(key, value);
  };
  put("general.type", { type: "string", value: "model" });
  out.set("general.quantization_version", { type: "u32", value: quantizationVersion });
  const fileType = fileTypeNumber(mostOf(tensors));
  if (checkpoint.format !== "gguf" || tensors.some(({ rounded }) => rounded)) {
    if (fileType === undefined) out.delete("general.file_type");
    else out.set("general.file_type", { type: "u32", value: fileType });
  }
  if (checkpoint.format === "gguf") return out;
  out.set(`${arch}.vocab_size`, { type: "u32", value: rows });
  for (const [key, value] of tokenizerMetadata(metadata, rows)) {
    if (value === undefined) out.delete(key);
    else out.set(key, value);
  }
  return out;
}

/** The type that most bytes are of. */
function mostOf(tensors: readonly MadeTensor[]): string {
  const sizes = new Map<string, number>();
  for (const { dtype, shape } of tensors) {
    const bytes = (shape.reduce((a, b) => a * b, 1) / dtype.blockValues) * dtype.blockBytes;
    sizes.set(dtype.name, (sizes.get(dtype.name) ?? 0) + bytes);
  }
  return [...sizes].sort(([, a], [, b]) => b - a)[0]?.[0] ?? "F32";
}
