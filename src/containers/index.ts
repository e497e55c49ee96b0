/** Opens models and adapters, whatever they are kept in. */
export { openAdapter } from "./adapter/open.js";
export { openCheckpoint } from "./checkpoint.js";
export { type FolderModel, type FolderModule, readFolderModel } from "./huggingface/modules.js";
export type { Rows } from "./huggingface/names.js";
export { graphData, weightNames } from "./model-folder/weight-names.js";
