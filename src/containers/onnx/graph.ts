/**
 * A graph of ONNX as far as weights go: its initializers, and the products that use them.
 * @source onnx/onnx, onnx/onnx.proto; microsoft/onnxruntime, docs/ContribOperators.md (com.microsoft.MatMulNBits)
 */

import { HundredweightError } from "../../errors.js";
import { Cursor } from "../../formats/cursor.js";
import { Message, type Value } from "./proto.js";

const limits = { initializers: 2 ** 19, nodes: 2 ** 19, dims: 8, inputs: 64, pairs: 16 } as const;

/** Types of elements by their numbers, by the names of safetensors. */
const types: Readonly<Record<number, string>> = {
  1: "F32",
  2: "U8",
  3: "I8",
  4: "U16",
  5: "I16",
  6: "I32",
  7: "I64",
  9: "BOOL",
  10: "F16",
  11: "F64",
  16: "BF16",
  17: "F8_E4M3",
  19: "F8_E5M2",
};

export interface Initializer {
  readonly name: string;
  /** Undefined: of a type that is no other's. */
  readonly dtype: string | undefined;
  readonly dims: readonly number[];
  /** Bytes in this file, or in another; undefined: values one by one, which only small ones have. */
  readonly place: { readonly file?: string; readonly offset: number; readonly bytes: number | undefined } | undefined;
}

/** A node of the graph that multiplies. */
export interface Node {
  readonly name: string;
  readonly kind: string;
  readonly inputs: readonly string[];
  /** Whole numbers among its attributes. */
  readonly attributes: ReadonlyMap<string, number>;
}

export interface OnnxWeights {
  readonly path: string;
  readonly fileBytes: number;
  readonly initializers: ReadonlyMap<string, Initializer>;
  readonly nodes: readonly Node[];
}

const products = new Set(["MatMul", "Gemm", "MatMulNBits", "MatMulBnb4", "GatherBlockQuantized"]);

/** @throws FORMAT_UNKNOWN, FORMAT_INVALID, FILE_NOT_FOUND, FILE_IO, FILE_NOT_REGULAR, MODEL_CHANGED */
export function readGraph(path: string): OnnxWeights {
  const cursor = new Cursor(path);
  try {
    const initializers = new Map<string, Initializer>();
    const nodes: Node[] = [];
    let graphs = 0;
    new Message(cursor, cursor.fileBytes).fields((field, value) => {
      if (field !== 7) return;
      graphs++;
      value.message().fields((part, own) => {
        if (part === 5) {
          const found = readInitializer(cursor, own);
          if (initializers.has(found.name)) throw cursor.invalid(`initializer '${found.name}' twice`);
          if (initializers.size === limits.initializers) throw cursor.invalid("too many initializers");
          initializers.set(found.name, found);
        } else if (part === 1) {
          const node = readNode(own);
          if (!products.has(node.kind)) return;
          if (nodes.length === limits.nodes) throw cursor.invalid("too many nodes");
          nodes.push(node);
        }
      });
    });
    if (graphs !== 1) throw new HundredweightError("FORMAT_UNKNOWN", `${path}: no ONNX model, which has one graph`);
    return { path, fileBytes: cursor.fileBytes, initializers, nodes };
  } finally {
    cursor.close();
  }
}

function readInitializer(cursor: Cursor, from: Value): Initializer {
  const dims: number[] = [];
  let [name, type, external] = ["", 0, false];
  let raw: { offset: number; bytes: number } | undefined;
  const outside = new Map<string, string>();
  from.message().fields((field, value) => {
    if (field === 1) {
      dims.push(...value.wholes(limits.dims));
      if (dims.length > limits.dims) throw cursor.invalid(`an initializer of ${dims.length} dimensions`);
    } else if (field === 2) type = value.whole();
    else if (field === 8) name = value.text();
    else if (field === 9) raw = { offset: value.at, bytes: value.bytes };
    else if (field === 13) readPair(cursor, value, outside);
    else if (field === 14) external = value.whole() === 1;
  });
  if (!dims.every(Number.isSafeInteger)) throw cursor.invalid(`initializer '${name}' of [${dims.join(", ")}]`);
  return { name, dtype: types[type], dims, place: external ? outsidePlace(cursor, name, outside) : raw };
}

function readPair(cursor: Cursor, from: Value, into: Map<string, string>): void {
  let [key, text] = ["", ""];
  from.message().fields((field, value) => {
    if (field === 1) key = value.text();
    else if (field === 2) text = value.text();
  });
  if (into.size === limits.pairs) throw cursor.invalid("too many pairs of an initializer");
  into.set(key, text);
}

function outsidePlace(
  cursor: Cursor,
  name: string,
  pairs: ReadonlyMap<string, string>,
): NonNullable<Initializer["place"]> {
  const whole = (key: string): number | undefined => {
    const text = pairs.get(key);
    const value = Number(text);
    if (text !== undefined && !(Number.isSafeInteger(value) && value >= 0))
      throw cursor.invalid(`initializer '${name}' has the ${key} '${text.slice(0, 40)}'`);
    return text === undefined ? undefined : value;
  };
  const file = pairs.get("location");
  if (file === undefined) throw cursor.invalid(`initializer '${name}' is in another file, which is not named`);
  return { file, offset: whole("offset") ?? 0, bytes: whole("length") };
}

function readNode(from: Value): Node {
  const inputs: string[] = [];
  const attributes = new Map<string, number>();
  let [name, kind] = ["", ""];
  from.message().fields((field, value) => {
    if (field === 1) {
      if (inputs.length < limits.inputs) inputs.push(value.text());
    } else if (field === 3) name = value.text();
    else if (field === 4) kind = value.text();
    else if (field === 5) readAttribute(value, attributes);
  });
  return { name, kind, inputs, attributes };
}

/** Only whole numbers; graphs within a node, and what else there is, are passed over. */
function readAttribute(from: Value, into: Map<string, number>): void {
  let name = "";
  let number: number | undefined;
  from.message().fields((field, value) => {
    if (field === 1) name = value.text();
    else if (field === 3) number = value.whole();
  });
  if (number !== undefined && into.size < limits.inputs) into.set(name, number);
}
