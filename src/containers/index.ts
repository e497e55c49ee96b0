/** Opens models and adapters, whatever they are kept in. */
export { openAdapter } from "./adapter/open.js";
export { openCheckpoint } from "./checkpoint.js";
export { type FolderModel, type FolderModule, readFolderModel } from "./huggingface/modules.js";
export type { Rows } from "./huggingface/names.js";
export { isolated, preTokenizerOf, sequence } from "./huggingface/pre-names.js";
export type { AddedToken } from "./huggingface/tokenizer-json.js";
export { placesOf, writtenModel } from "./huggingface/written.js";
export { graphData, weightNames } from "./model-folder/weight-names.js";
export type { StoredTensor } from "./stored/stored.js";
