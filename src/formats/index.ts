/** The formats room: bytes on disk <-> typed descriptions. */
export { openCheckpoint } from "./checkpoint.js";
export { limits } from "./cursor.js";
export { dequantizeRow } from "./dequantize.js";
export { type Acts, type Dtype, dtypeById, dtypeByName, dtypes, rowBytes } from "./dtypes.js";
export { fileTypeName } from "./file-types.js";
export { type GgufCheckpoint, openGguf } from "./gguf-open.js";
export { type GgufFile, readGgufFile } from "./gguf-read.js";
export { type GgufContent, type TensorSource, type WriteOptions, writeGguf } from "./gguf-write.js";
export { type ElementType, PackedStrings, TypedMetadata, type TypedValue, type ValueType } from "./metadata.js";
export { quantizeRow } from "./quantize.js";
export type { Checkpoint, Extent, Metadata, MetadataArray, MetadataValue, TensorInfo } from "./types.js";
