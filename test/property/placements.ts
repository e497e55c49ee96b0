/**
 * Where the weights of a way lie. Placement decides speed, never bits: every strategy that holds weights otherwise than
 * whole in memory is one more entry here, and the property tests it with everything else.
 */
import { openCheckpoint } from "../../src/formats/index.js";
import { type BoundModel, bindModel, type ModelOptions } from "../../src/models/index.js";
import { createOps } from "../../src/ops/index.js";

export interface Placement {
  readonly name: string;
  /** Binds the model to native Ops of its own; `close` of the result frees both. */
  open(
    path: string,
    ops: { readonly isa: string; readonly threads: number },
    options: ModelOptions,
  ): Promise<BoundModel>;
}

const resident: Placement = {
  name: "resident",
  async open(path, { isa, threads }, options) {
    const checkpoint = await openCheckpoint(path);
    const ops = createOps({ kind: "native", isa, threads });
    try {
      return bindModel(checkpoint, ops, options);
    } catch (error) {
      ops.close();
      throw error;
    }
  },
};

export const placements: readonly Placement[] = [resident];
