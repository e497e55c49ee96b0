/** A module as a folder has it, and its weight as the rest of the house knows it. */
import { HundredweightError } from "../../errors.js";
import { Cursor } from "../../formats/cursor.js";
import type { JsonObject } from "../../formats/json-reader.js";
import { type Layout, layoutBytes, type Planes } from "../../formats/layouts.js";
import type { StoredTensor } from "../stored/stored.js";

/** The tensors that a folder has of one module. */
export interface Module {
  /** Its full name there. */
  readonly name: string;
  /** Tensors by the rest of their names: `weight`, `bias`, `qweight`, `weight.absmax`; empty: the name is all of it. */
  readonly parts: ReadonlyMap<string, StoredTensor>;
  /** `quantization_config` of config.json. */
  readonly quantization: JsonObject | undefined;
}

/** A weight as plan, ring and kernels know it. */
export interface ModuleWeight {
  readonly layout: Layout;
  /** GGUF order: inputs, outputs, experts. */
  readonly shape: readonly number[];
  readonly planes: Planes;
  /** The tensor is the transpose of what lies there, whatever its family says. */
  readonly turned?: true;
}

/**
 * Reads the weight of a module that is stored in one way.
 * @returns undefined when this module is not stored so
 * @throws MODEL_INVALID, FORMAT_UNSUPPORTED when it is, and something is wrong
 */
export type WeightReader = (module: Module) => ModuleWeight | undefined;

export function unsupported({ name }: Module, what: string): HundredweightError {
  return new HundredweightError("FORMAT_UNSUPPORTED", `weight '${name}' ${what}, which is not supported`);
}

export function invalid({ name }: Module, what: string): HundredweightError {
  return new HundredweightError("MODEL_INVALID", `weight '${name}' ${what}`);
}

/** Tensors of a module, all of which have to be there.  @throws MODEL_INVALID */
export function partsOf(module: Module, ...names: readonly string[]): StoredTensor[] {
  return names.map((name) => {
    const tensor = module.parts.get(name);
    if (tensor === undefined) throw invalid(module, `has no '${name}'`);
    return tensor;
  });
}

/**
 * A weight of these tensors, one for each plane.
 * @throws MODEL_INVALID when the shape is none of the layout, or a tensor has not the bytes that its plane has
 */
export function weightOf(
  module: Module,
  layout: Layout,
  shape: readonly [cols: number, rows: number, ...experts: number[]],
  tensors: readonly StoredTensor[],
): ModuleWeight {
  const [cols, rows, experts = 1] = shape;
  if (layoutBytes(layout, rows, cols) === undefined)
    throw invalid(module, `of ${rows} x ${cols} values is not whole groups of ${layout.name}`);
  for (const [i, plane] of layout.planes.entries()) {
    const expected = layoutBytes({ ...layout, planes: [plane] }, rows, cols)! * experts;
    const { name, bytes, shape: dims, turned } = tensors[i]!;
    if (turned) throw unsupported(module, `has a transposed '${name}'`);
    if (bytes !== expected)
      throw invalid(
        module,
        `of ${rows} x ${cols} values: '${name}' [${dims.join(", ")}] has ${bytes} bytes; ` +
          `${layout.name} takes ${expected}`,
      );
  }
  const planes = layout.planes.map(({ name }, i) => {
    const { file, offset, bytes } = tensors[i]!;
    return [name, [{ file, offset, bytes }]] as const;
  });
  return { layout, shape, planes: Object.fromEntries(planes) };
}

/** A tensor that is read when the folder is opened.  @throws MODEL_INVALID when it is larger, FILE_IO */
export function smallTensor(
  module: Module,
  { name, file, offset, bytes }: StoredTensor,
  mostBytes: number,
): Uint8Array {
  if (bytes > mostBytes) throw invalid(module, `: '${name}' has ${bytes} bytes, at most ${mostBytes} are read`);
  // A folder has one for each of thousands of experts: no more is read than it holds, or the page cache fills up.
  const cursor = new Cursor(file, bytes);
  try {
    cursor.seek(offset);
    return cursor.bytes(bytes, name);
  } finally {
    cursor.close();
  }
}
