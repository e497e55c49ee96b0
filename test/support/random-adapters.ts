/** Random adapters beside any model: pairs for some of its products, of several types and ranks. */
import { writeFileSync } from "node:fs";
import { quantizeRow } from "../../src/compress/quantize.js";
import type { Adapter, AdapterPair, PairMatrix } from "../../src/formats/adapter.js";
import { blocksBytes, dtypeByName } from "../../src/formats/index.js";
import type { ModelDescription } from "../../src/models/index.js";
import { seededWords } from "../../src/synth/random.js";

/** Scales of a sequence's adapters: one, the other, none, both. */
export const adapterSets: readonly (readonly number[])[] = [[1], [0, -0.5], [], [0.75, 1.25]];

/** Two of them, in files that begin with `path`. The same seed, the same numbers. */
export function randomAdapters(path: string, { program, arch, format }: ModelDescription, seed: number): Adapter[] {
  const words = seededWords(seed, "adapters");
  const products = new Map<string, readonly [cols: number, rows: number, experts?: number]>();
  for (const call of program.calls) {
    if (call.verb === "linear" && !call.hint)
      for (const { tensor, cols, rows } of call.weights)
        if (tensor.made !== undefined)
          for (const { tensor: part } of tensor.made)
            products.set(part.name, [cols, part.shape.slice(1).reduce((product, size) => product * size, 1)]);
        else if (tensor.name !== "token_embd.weight") products.set(tensor.name, [cols, rows]);
    if (call.verb === "experts")
      for (const weight of [call.body.gate, call.body.up, call.body.down])
        if (weight !== null) products.set(weight.tensor.name, [weight.cols, weight.rows, weight.experts]);
    // Of a table rows are looked up: the first half has as many.
    if (call.verb === "lookup" && call.by === "ids") products.set(call.table.tensor.name, [call.table.rows, 0]);
  }
  const tables = new Map(
    program.calls.flatMap((call) => (call.verb === "lookup" ? [[call.table.tensor.name, call.table.cols]] : [])),
  );
  return [0, 1].map((slot): Adapter => {
    const file = `${path}.${slot}`;
    const parts: Uint8Array[] = [];
    let at = 0;
    const matrix = (name: string, type: string, rows: number, cols: number, experts: number): PairMatrix => {
      const layout = dtypeByName(type)!;
      const each = blocksBytes(layout, cols)!;
      const bytes = new Uint8Array(experts * rows * each);
      const row = new Float32Array(cols);
      for (let r = 0; r < experts * rows; r++) {
        for (let c = 0; c < cols; c++) row[c] = (0.7 * (words() / 2 ** 31 - 1)) / Math.sqrt(cols);
        quantizeRow(layout, row, bytes.subarray(r * each, (r + 1) * each));
      }
      parts.push(bytes);
      at += bytes.length;
      return {
        name,
        layout,
        rows,
        cols,
        experts,
        extents: [{ file, offset: at - bytes.length, bytes: bytes.length }],
      };
    };
    const pairs = new Map<string, AdapterPair>();
    for (const [name, [cols, rows, experts = 1]] of products) {
      if (words() % 3 === 0) continue;
      const type = ["F32", "F16", "BF16", "Q8_0"][words() % 4]!;
      const rank = type === "Q8_0" ? 32 : 1 + (words() % 9);
      const table = tables.get(name);
      const low = type === "Q8_0" && cols % 32 !== 0 ? "F16" : type;
      const a = table === undefined ? matrix(name, low, rank, cols, experts) : matrix(name, type, cols, rank, 1);
      pairs.set(name, { a, b: matrix(name, type, table ?? rows, rank, experts), scale: 1 + (words() % 3) });
    }
    writeFileSync(file, Buffer.concat(parts));
    return { path: file, format: format === "gguf" ? "gguf" : "safetensors", architecture: arch, pairs };
  });
}
