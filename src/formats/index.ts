/** The formats room: bytes on disk <-> typed descriptions. */
export { limits } from "./cursor.js";
export { decodeRow } from "./decode-row.js";
export { dequantizeRow } from "./dequantize.js";
export { blocksBytes, type Dtype, dtypeById, dtypeByName, dtypeOf, dtypes } from "./dtypes.js";
export { fileTypeName } from "./file-types.js";
export { type GgufCheckpoint, openGguf } from "./gguf-open.js";
export { type GgufFile, readGgufFile } from "./gguf-read.js";
export { type GgufContent, planGguf, type TensorSource, type WriteOptions, writeGguf } from "./gguf-write.js";
export {
  type Acts,
  append,
  checkPlanes,
  type Extent,
  expertPlaneBytes,
  extentsWithin,
  type Layout,
  layoutBytes,
  onlyExtent,
  type Planes,
  type Slices,
  segmentsOf,
  sliceExtents,
  slicesOf,
  storedBytes,
} from "./layouts.js";
export { type ElementType, PackedStrings, TypedMetadata, type TypedValue, type ValueType } from "./metadata.js";
export type { Checkpoint, Metadata, MetadataArray, MetadataValue, TensorInfo } from "./types.js";
export { type BadBlock, type VerifyReport, verifyCheckpoint } from "./verify-file.js";
