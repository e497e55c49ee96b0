/** A model as one GGUF file: its head, and its tensors as pieces. */
import { padded, planGguf } from "../formats/gguf-write.js";
import type { Checkpoint } from "../formats/types.js";
import type { ModelDescription } from "../models/index.js";
import { ggufMetadata } from "./gguf-metadata.js";
import { ggufTensors, type MadeModel } from "./gguf-tensors.js";
import type { ResumableFile } from "./resumable-file.js";
import type { Sources } from "./stored-matrix.js";
import type { TypeChoice } from "./type-choice.js";

/** @throws MODEL_INVALID, FORMAT_UNSUPPORTED, TOKENIZER_INVALID */
export function ggufFile(
  path: string,
  checkpoint: Checkpoint,
  description: ModelDescription,
  choice: TypeChoice,
  files: Sources,
): { readonly file: Omit<ResumableFile, "identity">; readonly model: MadeModel } {
  const model = ggufTensors(checkpoint, description, choice, files);
  const metadata = ggufMetadata(checkpoint, model.tensors, description.config.vocab);
  const { head, alignment, tensors } = planGguf(path, { metadata, tensors: model.tensors });
  const pieces = tensors.map(({ source, bytes }, i) => ({
    name: source.name,
    bytes,
    padding: padded(bytes, alignment) - bytes,
    data: model.tensors[i]!.data,
  }));
  return { file: { path, head, pieces }, model };
}
