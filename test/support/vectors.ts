/** Outputs of encoders, evaluated in passes without an engine. */
import type { BoundModel } from "../../src/models/index.js";
import { pagePositions, type RowTable } from "../../src/ops/ops.js";

/** A row table of whole texts, each a sequence with pages of its own. */
export function wholeTexts(model: BoundModel, texts: readonly (readonly number[])[]): RowTable {
  const blocks = Math.ceil(Math.max(...texts.map((ids) => ids.length)) / pagePositions);
  return {
    count: texts.reduce((sum, ids) => sum + ids.length, 0),
    ids: Int32Array.from(texts.flat()),
    positions: Int32Array.from(texts.flatMap((ids) => ids.map((_, i) => i))),
    sequences: Int32Array.from(texts.flatMap((ids, s) => ids.map(() => s))),
    blockTables: model.kvGroups.map(() =>
      texts.map((_, s) => Int32Array.from({ length: blocks }, (_, b) => s * blocks + b)),
    ),
  };
}

/** The pooled row, or the scores, of each text of one pass; and the final rows of all. */
export async function textOutputs(
  model: BoundModel,
  texts: readonly (readonly number[])[],
): Promise<{ readonly texts: Float32Array[]; readonly rows: Float32Array }> {
  const table = wholeTexts(model, texts);
  const { outputs } = model.description.program;
  const wanted = Int32Array.from({ length: table.count }, (_, i) => i);
  const width = (outputs.rank ?? outputs.pooled)?.cols ?? 0;
  const rows = new Float32Array(table.count * model.config.dim);
  let all = new Float32Array();
  const hear = (values: Float32Array): void => {
    all = values.slice();
  };
  const extras = outputs.rank !== undefined ? { onRank: hear } : outputs.pooled !== undefined ? { onPooled: hear } : {};
  const hidden = {
    wanted,
    onHidden: (values: Float32Array, first: number): void => rows.set(values, first * model.config.dim),
  };
  await model.forward(table, new Int32Array(), () => {}, hidden, extras);
  return { texts: texts.map((_, s) => all.slice(s * width, (s + 1) * width)), rows };
}

export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [product, squareA, squareB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    squareA += a[i]! ** 2;
    squareB += b[i]! ** 2;
  }
  return product / Math.sqrt(squareA * squareB);
}
