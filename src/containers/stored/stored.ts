/** Tensors as a container of weights has them, whichever it is: where each lies, under the name it has there. */
import { HundredweightError } from "../../errors.js";

/** A tensor as it lies in a file. */
export interface StoredTensor {
  readonly name: string;
  /** `F32`, `BF16`, `I32`, `F8_E4M3` ...: the names of safetensors. */
  readonly dtype: string;
  /** As it lies: the last dimension varies fastest. */
  readonly shape: readonly number[];
  readonly file: string;
  /** Absolute in the file. */
  readonly offset: number;
  readonly bytes: number;
  /** The tensor is the transpose of what lies there; of matrices. */
  readonly turned?: true;
  /** Bits of a packed code, where the container says it. */
  readonly bits?: number;
}

export interface StoredFile {
  readonly path: string;
  readonly fileBytes: number;
}

/** The weights of a folder: one file, or shards that an index names. */
export interface StoredFolder {
  readonly format: "safetensors" | "pytorch" | "offload" | "onnx";
  readonly files: readonly StoredFile[];
  /** By name, over all files. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Bytes of an element of PyTorch's types, by the names of safetensors. */
export const elementBytes: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
};

/** @throws FORMAT_INVALID naming the file */
export function invalidFile(path: string, message: string): HundredweightError {
  return new HundredweightError("FORMAT_INVALID", `${path}: ${message}`);
}
