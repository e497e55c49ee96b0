/**
 * `Ops` that allocate nothing and only write down what was asked for: binding a model to them tells what binding it for
 * real will take. Their verbs refuse.
 */
import { HundredweightError } from "../errors.js";
import { checkPlanes } from "../formats/layouts.js";
import { type KvPool, type KvType, type Ops, pagePositions } from "./ops.js";
import { mapVerbs } from "./verbs.js";

export interface PaperRecord {
  /** Bytes of tensors, arenas and routings. */
  readonly activationBytes: number;
  readonly vectorBytes: number;
  readonly ropes: readonly { readonly pairs: number; readonly maxRows: number }[];
  readonly pools: readonly KvPool[];
}

/** Bytes of one position of one head.  @throws OPTION_INVALID when the type needs whole blocks of 32 */
export function kvHeadBytes(type: KvType, values: number): number {
  if (type === "f16") return 2 * values;
  if (values % 32 !== 0)
    throw new HundredweightError(
      "OPTION_INVALID",
      `this model's heads of ${values} values do not fit a quantized KV cache (multiples of 32): use f16`,
    );
  return (values / 32) * (type === "q8_0" ? 34 : 18);
}

const unavailable = (): never => {
  throw new HundredweightError("INTERNAL", "a model on paper cannot be run");
};

export function paperOps(): Ops & { readonly record: PaperRecord } {
  const record = {
    activationBytes: 0,
    vectorBytes: 0,
    ropes: [] as { pairs: number; maxRows: number }[],
    pools: [] as KvPool[],
  };
  let ids = 0;
  /** Ones by length, shared: biases of many experts would be hundreds of megabytes. */
  const ones = new Map<number, Float32Array>();
  return {
    name: "paper",
    record,
    arena(floats) {
      record.activationBytes += 4 * floats;
      return { id: ++ids, floats };
    },
    tensor(rows, cols, arena) {
      if (arena === undefined) record.activationBytes += 4 * rows * cols;
      return { id: ++ids, rows, cols };
    },
    routing(rows, topK) {
      record.activationBytes += 8 * rows * topK;
      return { id: ++ids, rows, topK };
    },
    vector(values) {
      record.vectorBytes += values.byteLength;
      return { id: ++ids, length: values.length };
    },
    matrix(source) {
      checkPlanes(source);
      const { name, layout, rows, cols, experts } = source;
      return { id: ++ids, name, layout, rows, cols, experts };
    },
    loadVector(source) {
      const length = source.cols * source.rows * source.experts;
      const known = ones.get(length) ?? new Float32Array(length).fill(1);
      ones.set(length, known);
      return known;
    },
    kvPool(spec) {
      let position = 0;
      for (const layer of spec.layers)
        position += layer.kvHeads * (kvHeadBytes(spec.type, layer.headDimK) + kvHeadBytes(spec.type, layer.headDimV));
      const pageBytes = position * pagePositions;
      const pool = { id: ++ids, pages: spec.pages, layers: spec.layers.length, pageBytes };
      record.pools.push(pool);
      return pool;
    },
    ropeTable(spec, maxRows) {
      record.ropes.push({ pairs: spec.frequencies.length, maxRows });
      return { id: ++ids };
    },
    async seal(): Promise<void> {},
    close: () => {},
    // Hints are for experts that are read from a disk.
    ...mapVerbs((verb) => (verb === "expectExperts" ? undefined : unavailable)),
  };
}
