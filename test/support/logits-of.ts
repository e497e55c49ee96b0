/** The logits of a model that binds every tensor it has. */
import assert from "node:assert/strict";
import { bestOps } from "../differential/models/compare.js";
import { evaluate, openModel } from "./evaluate.js";

/** A row for each token. @param ids the tokens of one text */
export async function logitsOf(path: string, ids: ArrayLike<number>): Promise<Float32Array[]> {
  const model = await openModel(path, bestOps());
  try {
    assert.deepEqual(model.unusedTensors, []);
    return (await evaluate(model, ids)).map((row) => row.slice());
  } finally {
    model.close();
  }
}
