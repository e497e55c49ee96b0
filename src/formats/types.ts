/** The form every container is turned into: metadata, and tensors as descriptions of where bytes lie. */
import type { Layout, Planes } from "./layouts.js";

export interface TensorInfo {
  readonly name: string;
  readonly layout: Layout;
  /** GGUF order: shape[0] varies fastest (the columns of a matrix). */
  readonly shape: readonly number[];
  readonly planes: Planes;
  /** The container has it as [outputs, inputs] would be transposed: `shape` is of what lies there. */
  readonly transposed?: true;
  /** Numbers that follow from the configuration and lie in no file; of a vector. */
  readonly values?: Float32Array;
  /** A GGUF file has it as part of the tensor of this name, behind the parts before it. */
  readonly joined?: string;
  /** The change of a vector's values on their way to the model. */
  readonly change?: VectorChange;
}

/** `plus one`: norms that are stored as their difference from one. `minus exp`: decays stored as logarithms. */
export type VectorChange = "plus one" | "minus exp";

/** 64-bit integers are numbers when they are safe integers, else bigint. */
export type MetadataValue = string | number | bigint | boolean | MetadataArray;
/** Numeric arrays come as typed arrays, strings as string[] (invalid UTF-8 kept via U+FFFD, see `rawStrings`). */
export type MetadataArray =
  | readonly string[]
  | readonly boolean[]
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array;

export interface Metadata {
  readonly size: number;
  keys(): IterableIterator<string>;
  get(key: string): MetadataValue | undefined;
  /** Typed access: undefined when absent (or the default), MODEL_INVALID when of another type. */
  string(key: string): string | undefined;
  /** Any integer or float width; throws unless a finite number. */
  number(key: string): number | undefined;
  boolean(key: string): boolean | undefined;
  strings(key: string): readonly string[] | undefined;
  /** Any numeric array as numbers. */
  numbers(key: string): ArrayLike<number> | undefined;
  /** Exact bytes of a string array, for vocabularies with invalid UTF-8; undefined when absent. */
  rawStrings(key: string): readonly Uint8Array[] | undefined;
  /**
   * The same as one buffer: string i is bytes[offsets[i], offsets[i + 1]). A vocabulary of 250,000 costs no objects.
   */
  packedStrings(key: string): { readonly bytes: Uint8Array; readonly offsets: Uint32Array } | undefined;
}

/** The kind of files that a model is kept in. */
export type ContainerFormat = "gguf" | "safetensors" | "pytorch" | "offload" | "onnx" | "apr";

/** An opened model: any container, logical tensors under GGUF names. */
export interface Checkpoint {
  readonly path: string;
  readonly format: ContainerFormat;
  /** Version of the container, where it has one. */
  readonly formatVersion?: number;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Sum of the tensors' bytes. */
  readonly tensorBytes: number;
}
