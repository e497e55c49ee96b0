/** The convert room: a model in one container becomes the same model in another. */
export { type Converted, type ConvertOptions, type ConvertPlan, convertModel } from "./convert.js";
export { int8Kinds } from "./int8-folder.js";
export { type FolderQuantization, type QuantizedFolder, quantizeFolder } from "./quantized-folder.js";
export { type QuantizedFile, type QuantizeProgress, writeQuantized } from "./quantized-gguf.js";
export { type WishedType, wishedTypes } from "./type-choice.js";
