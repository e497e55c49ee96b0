/** bitsandbytes' 4-bit weights: what the file says of them lies beside each as JSON in a tensor of bytes. */
import { fp4Values, nf4Values } from "../../formats/decode-planes.js";
import { isObject, type JsonObject, JsonReader } from "../../formats/json-reader.js";
import { bnb4Layout } from "../../formats/plane-layouts.js";
import type { StoredTensor } from "../stored/stored.js";
import {
  invalid,
  type Module,
  partsOf,
  smallTensor,
  unsupported,
  type WeightReader,
  weightOf,
} from "./module-weight.js";

const limits = { stateBytes: 4096 } as const;
const blocks = new Set([32, 64, 128, 256, 512, 1024, 2048, 4096]);
const stateName = /^weight\.quant_state\.bitsandbytes__(nf4|fp4)$/;

/** @throws FORMAT_UNSUPPORTED for another code book, MODEL_INVALID */
export const bnb4Weight: WeightReader = (module) => {
  const found = [...module.parts].find(([name]) => stateName.test(name));
  if (found === undefined) return undefined;
  const [name, tensor] = found;
  const codes = stateName.exec(name)![1] as "nf4" | "fp4";
  const state = readState(module, tensor);
  const block = state.blocksize;
  const shape = state.shape;
  if (typeof block !== "number" || !blocks.has(block)) throw invalid(module, `has blocks of ${JSON.stringify(block)}`);
  if (
    !Array.isArray(shape) ||
    shape.length !== 2 ||
    !shape.every((n) => typeof n === "number" && Number.isSafeInteger(n))
  )
    throw invalid(module, `has the shape ${JSON.stringify(shape)}`);
  const [rows, cols] = shape as [number, number];
  if (rows < 1 || cols < 2 || cols % 2 !== 0)
    throw invalid(module, `has rows of ${cols} values, which are no whole bytes`);
  const [values, scales, book] = partsOf(module, "weight", "weight.absmax", "weight.quant_map") as [
    StoredTensor,
    StoredTensor,
    StoredTensor,
  ];
  checkBook(module, book, codes);
  const across = cols % block !== 0;
  const nested = module.parts.has("weight.nested_absmax");
  if (!nested) return weightOf(module, bnb4Layout({ codes, block, across }), [cols, rows], [values, scales]);
  const offset = state.nested_offset;
  if (typeof offset !== "number" || !Number.isFinite(offset)) throw invalid(module, "has no nested_offset");
  if ((state.nested_blocksize ?? 256) !== 256) throw invalid(module, `has nested blocks of ${state.nested_blocksize}`);
  const layout = bnb4Layout({ codes, block, across, nestedOffset: Math.fround(offset) });
  const more = partsOf(module, "weight.nested_absmax", "weight.nested_quant_map");
  return weightOf(module, layout, [cols, rows], [values, scales, ...more]);
};

/** @throws FORMAT_INVALID when it is no JSON object, MODEL_INVALID */
function readState(module: Module, tensor: StoredTensor): JsonObject {
  const reader = new JsonReader(smallTensor(module, tensor, limits.stateBytes), `${tensor.file}: '${tensor.name}'`);
  const state = reader.value();
  reader.end();
  if (!isObject(state)) throw invalid(module, "has no quant_state");
  return state;
}

/** Kernels know the library's code books; a file may hold another. */
function checkBook(module: Module, tensor: StoredTensor, codes: "nf4" | "fp4"): void {
  const expected = codes === "nf4" ? nf4Values : fp4Values;
  const own = smallTensor(module, tensor, limits.stateBytes);
  const view = new DataView(own.buffer, own.byteOffset);
  if (own.length !== 64 || !expected.every((value, i) => view.getFloat32(4 * i, true) === value))
    throw unsupported(module, "has a code book of its own");
}
