/** Where everything lies in a sound GGUF file (version 2 or 3), so that damage can be aimed. */
import { dtypeById } from "../../src/formats/index.js";

export type FieldKind =
  | "version"
  | "count"
  | "length"
  | "type"
  | "value"
  | "text"
  | "rank"
  | "dim"
  | "dtype"
  | "offset";

/** A number (or text) in the header, the metadata or the tensor directory. */
export interface Field {
  readonly kind: FieldKind;
  readonly at: number;
  readonly bytes: number;
  /** f32 or f64; otherwise an integer or text. */
  readonly float: boolean;
  /** The metadata key or tensor it belongs to, "" in the header. */
  readonly owner: string;
}

export interface TensorSpan {
  readonly name: string;
  readonly dtypeId: number;
  readonly from: number;
  readonly to: number;
  readonly typeAt: number;
  readonly nameAt: number;
}

export interface Layout {
  readonly bytes: Uint8Array;
  readonly fields: readonly Field[];
  readonly tensors: readonly TensorSpan[];
  readonly metadataStart: number;
  readonly metadataEnd: number;
  readonly directoryEnd: number;
  readonly dataStart: number;
}

/** Bytes of a scalar by GGUF value type; 0 for strings and arrays. */
const scalarBytes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const [f32, text, array, f64] = [6, 8, 9, 12];

/** `bytes` is trusted: it comes from our own writer. */
export function layoutOf(bytes: Uint8Array): Layout {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields: Field[] = [];
  let at = 4;
  const number = (kind: FieldKind, width: number, owner: string, float = false): number => {
    fields.push({ kind, at, bytes: width, float, owner });
    const value = width === 8 ? Number(view.getBigUint64(at, true)) : width === 4 ? view.getUint32(at, true) : 0;
    at += width;
    return value;
  };
  const string = (kind: FieldKind, owner: string): string => {
    const length = number("length", 8, owner);
    const value = Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString();
    fields.push({ kind, at, bytes: length, float: false, owner: owner || value });
    at += length;
    return value;
  };
  const element = (type: number, owner: string): void => {
    if (type === text) string("text", owner);
    else number("value", scalarBytes[type]!, owner, type === f32 || type === f64);
  };

  number("version", 4, "");
  const tensorCount = number("count", 8, "");
  const keyCount = number("count", 8, "");
  const metadataStart = at;
  for (let i = 0; i < keyCount; i++) {
    const key = string("text", "");
    const type = number("type", 4, key);
    if (type !== array) {
      element(type, key);
      continue;
    }
    const elementType = number("type", 4, key);
    const count = number("count", 8, key);
    for (let e = 0; e < count; e++) element(elementType, key);
  }
  const metadataEnd = at;
  const found: { name: string; dtypeId: number; values: number; offset: number; typeAt: number; nameAt: number }[] = [];
  for (let i = 0; i < tensorCount; i++) {
    const nameAt = at + 8;
    const name = string("text", "");
    const rank = number("rank", 4, name);
    let values = 1;
    for (let d = 0; d < rank; d++) values *= number("dim", 8, name);
    const typeAt = at;
    const dtypeId = number("dtype", 4, name);
    found.push({ name, dtypeId, values, offset: number("offset", 8, name), typeAt, nameAt });
  }
  const directoryEnd = at;
  const dataStart = Math.ceil(directoryEnd / 32) * 32;
  const tensors = found.map(({ name, dtypeId, values, offset, typeAt, nameAt }) => {
    const dtype = dtypeById(dtypeId)!;
    const from = dataStart + offset;
    return { name, dtypeId, from, to: from + (values / dtype.blockValues) * dtype.blockBytes, typeAt, nameAt };
  });
  return { bytes, fields, tensors, metadataStart, metadataEnd, directoryEnd, dataStart };
}
