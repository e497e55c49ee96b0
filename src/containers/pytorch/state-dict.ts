/**
 * A PyTorch checkpoint: a zip archive of a pickle, which says which tensors there are, and of their bytes. Tensors are
 * views of storages: a contiguous or transposed one is a range of the file.
 * @source pytorch/pytorch, torch/serialization.py and torch/_utils.py (_rebuild_tensor_v2, v3)
 */
import { HundredweightError } from "../../errors.js";
import { Cursor } from "../../formats/cursor.js";
import type { WeightFile } from "../stored/shards.js";
import { elementBytes, type StoredTensor } from "../stored/stored.js";
import { PickleGlobal, PickleReference, type PickleValue, readPickle } from "./pickle.js";
import { entryOffset, readZipDirectory, type ZipEntry } from "./zip.js";

const limits = { pickleBytes: 64 * 2 ** 20, tensors: 2 ** 19, nameBytes: 1024, dims: 8 } as const;

/** The classes of storages -> type of their elements. */
const storages: Readonly<Record<string, string>> = {
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.DoubleStorage": "F64",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ShortStorage": "I16",
  "torch.CharStorage": "I8",
  "torch.ByteStorage": "U8",
  "torch.BoolStorage": "BOOL",
  "torch.storage.UntypedStorage": "U8",
};

/** Types that have no storage of their own. */
const dtypes: Readonly<Record<string, string>> = {
  "torch.float8_e4m3fn": "F8_E4M3",
  "torch.float8_e5m2": "F8_E5M2",
  "torch.float8_e8m0fnu": "F8_E8M0",
  "torch.uint16": "U16",
  "torch.uint32": "U32",
  "torch.uint64": "U64",
};

const dictionary = "collections.OrderedDict";
const rebuildTensor = "torch._utils._rebuild_tensor_v2";
const rebuildTyped = "torch._utils._rebuild_tensor_v3";
const rebuildParameter = "torch._utils._rebuild_parameter";
const rebuilds = new Set([dictionary, rebuildTensor, rebuildTyped, rebuildParameter, "torch.Size"]);

/** A tensor as the pickle describes it. */
class View {
  readonly key: string;
  readonly dtype: string;
  /** Elements before the first one. */
  readonly first: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(key: string, dtype: string, first: number, shape: readonly number[], strides: readonly number[]) {
    this.key = key;
    this.dtype = dtype;
    this.first = first;
    this.shape = shape;
    this.strides = strides;
  }
}

/** Names under which training scripts keep the weights beside other things. */
const inner = ["state_dict", "model_state_dict", "model", "module"];

/**
 * Reads the description of one checkpoint, never its weights.
 * @throws FILE_NOT_FOUND, FILE_IO, FILE_NOT_REGULAR, MODEL_CHANGED; FORMAT_UNKNOWN (no such file), FORMAT_UNSUPPORTED
 *   (written before torch 1.6, compressed, a pickle that wants more than tensors, a view with gaps), FORMAT_INVALID
 */
export function readPytorch(path: string): WeightFile {
  const cursor = new Cursor(path);
  try {
    checkMagic(cursor);
    const entries = new Map<string, ZipEntry>();
    for (const entry of readZipDirectory(cursor)) {
      if (entries.has(entry.name)) throw cursor.invalid(`entry '${entry.name}' twice`);
      entries.set(entry.name, entry);
    }
    const prefix = prefixOf(cursor, entries);
    const state = stateOf(cursor, readEntryBytes(cursor, entries.get(`${prefix}data.pkl`)!));
    const tensors: StoredTensor[] = [];
    for (const [name, view] of state)
      tensors.push(stored(cursor, name, view, entries.get(`${prefix}data/${view.key}`)));
    return { path, fileBytes: cursor.fileBytes, tensors };
  } finally {
    cursor.close();
  }
}

/** The number that torch wrote in front before it wrote archives. */
const oldMagic = Buffer.from("8a0a6cfc9c46f9206aa85019", "hex");

function checkMagic(cursor: Cursor): void {
  const head = Buffer.from(cursor.bytes(Math.min(64, cursor.fileBytes), "the file"));
  if (head.length > 4 && head.readUInt32LE(0) === 0x04034b50) return;
  if (head[0] === 0x80 && head.includes(oldMagic))
    throw cursor.unsupported(
      "written in PyTorch's form from before version 1.6; write it again with " +
        "torch.save(torch.load(FILE, weights_only=True), FILE), or use the safetensors of the model",
    );
  throw new HundredweightError("FORMAT_UNKNOWN", `${cursor.path}: no PyTorch checkpoint, which is a zip archive`);
}

/** The folder in the archive; it is named after the file that was written. */
function prefixOf(cursor: Cursor, entries: ReadonlyMap<string, ZipEntry>): string {
  const found = [...entries.keys()].filter((name) => /^[^/]*\/?data\.pkl$/.test(name));
  if (found.length !== 1) throw cursor.unsupported(`${found.length} entries 'data.pkl', expected one: no checkpoint`);
  const prefix = found[0]!.slice(0, -"data.pkl".length);
  if (entries.has(`${prefix}constants.pkl`))
    throw cursor.unsupported("a TorchScript program; save the model's state_dict instead");
  const order = entries.get(`${prefix}byteorder`);
  if (order !== undefined && Buffer.from(readEntryBytes(cursor, order)).toString("latin1") !== "little")
    throw cursor.unsupported("written on a computer of the other byte order");
  return prefix;
}

function readEntryBytes(cursor: Cursor, entry: ZipEntry): Uint8Array {
  if (entry.bytes > limits.pickleBytes) throw cursor.invalid(`'${entry.name}' has ${entry.bytes} bytes`);
  cursor.seek(entryOffset(cursor, entry));
  return cursor.bytes(entry.bytes, entry.name);
}

/** The tensors of the pickle by their names. */
function stateOf(cursor: Cursor, pickle: Uint8Array): Map<string, View> {
  const allows = (name: string): boolean =>
    rebuilds.has(name) || Object.hasOwn(storages, name) || Object.hasOwn(dtypes, name);
  const call = (name: string, args: readonly PickleValue[]): PickleValue => {
    if (name === dictionary) return new Map();
    if (name === "torch.Size") return args[0] ?? [];
    if (name === rebuildTensor) return viewOf(cursor, args);
    if (name === rebuildTyped) return viewOf(cursor, args, args[6]);
    if (name === rebuildParameter && args[0] instanceof View) return args[0];
    throw cursor.invalid(`the pickle calls '${name}' with what does not fit`);
  };
  const value = readPickle(pickle, `${cursor.path}: data.pkl`, { allows, call });
  if (!(value instanceof Map)) throw cursor.unsupported("holds no state_dict, a dictionary of tensors");
  const found = viewsOf(cursor, value);
  if (found.size > 0) return found;
  for (const key of inner) {
    const own = value.get(key);
    const views = own instanceof Map ? viewsOf(cursor, own) : undefined;
    if (views !== undefined && views.size > 0) return views;
  }
  throw cursor.unsupported("holds no state_dict, a dictionary of tensors");
}

function viewsOf(cursor: Cursor, map: ReadonlyMap<PickleValue, PickleValue>): Map<string, View> {
  const found = new Map<string, View>();
  for (const [name, value] of map) {
    if (typeof name !== "string" || !(value instanceof View)) continue;
    if (Buffer.byteLength(name) > limits.nameBytes) throw cursor.invalid("a name of more than 1024 bytes");
    if (found.size === limits.tensors) throw cursor.invalid(`more than ${limits.tensors} tensors`);
    found.set(name, value);
  }
  return found;
}

/** `(storage, first element, shape, strides, ...)`. */
function viewOf(cursor: Cursor, [storage, first, shape, strides]: readonly PickleValue[], type?: PickleValue): View {
  const id = storage instanceof PickleReference ? storage.id : undefined;
  const [kind, of, key] = Array.isArray(id) ? id : [];
  if (kind !== "storage" || !(of instanceof PickleGlobal) || typeof key !== "string")
    throw cursor.invalid("a tensor of the pickle has no storage");
  const own = type instanceof PickleGlobal ? dtypes[type.name] : undefined;
  if (type !== undefined && own === undefined) throw cursor.unsupported("a tensor of a type that is not known");
  const dtype = own ?? storages[of.name];
  const wholes = [first, ...numbersOf(shape), ...numbersOf(strides)];
  const rank = numbersOf(shape).length;
  if (dtype === undefined || rank !== numbersOf(strides).length || rank > limits.dims || !wholes.every(isWhole))
    throw cursor.invalid("a tensor of the pickle has no shape");
  return new View(key, dtype, first as number, shape as number[], strides as number[]);
}

const numbersOf = (value: PickleValue | undefined): readonly PickleValue[] => (Array.isArray(value) ? value : [null]);
const isWhole = (value: PickleValue | undefined): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

function stored(cursor: Cursor, name: string, view: View, entry: ZipEntry | undefined): StoredTensor {
  const { dtype, first, shape } = view;
  if (entry === undefined) throw cursor.invalid(`the bytes of tensor '${name}' are missing ('data/${view.key}')`);
  const each = elementBytes[dtype]!;
  const count = shape.reduce((product, size) => product * size, 1);
  const order = orderOf(view);
  if (order === "other")
    throw cursor.unsupported(
      `tensor '${name}' [${shape.join(", ")}] is a view with strides ${view.strides.join(", ")}, which does ` +
        "not lie in one piece; save it again after .contiguous()",
    );
  const start = first * each;
  const bytes = count * each;
  if (!Number.isSafeInteger(start + bytes) || start + bytes > entry.bytes)
    throw cursor.invalid(
      `tensor '${name}' [${shape.join(", ")}] of ${dtype} needs ${start + bytes} bytes of '${entry.name}', ` +
        `which has ${entry.bytes}`,
    );
  const offset = entryOffset(cursor, entry) + start;
  const turned = order === "turned";
  return {
    ...{ name, dtype, shape: turned ? shape.toReversed() : shape, file: cursor.path, offset, bytes },
    ...(turned && { turned }),
  };
}

/** Strides of dimensions of one element say nothing. */
function orderOf({ shape, strides }: View): "contiguous" | "turned" | "other" {
  const fits = (order: readonly number[]): boolean => {
    let expected = 1;
    for (const i of order) {
      if (shape[i]! > 1 && strides[i] !== expected) return false;
      expected *= shape[i]!;
    }
    return true;
  };
  const dims = shape.map((_, i) => i);
  if (shape.includes(0) || fits(dims.toReversed())) return "contiguous";
  return shape.length === 2 && fits(dims) ? "turned" : "other";
}
