/** Opens models with adapters and evaluates sequences that have different ones. */
import { openAdapter, openCheckpoint } from "../../src/containers/index.js";
import { type BoundModel, bindDescription, describeModel, withAdapters } from "../../src/models/index.js";
import { bestOps } from "../differential/models/compare.js";

const fresh = { contextTokens: 256, maxRows: 128, sequences: 4, kvType: "f16", maxLogitRows: 128 } as const;

export async function openAdapted(path: string, adapters: readonly string[]): Promise<BoundModel> {
  const checkpoint = await openCheckpoint(path);
  const opened = adapters.map((adapter) => openAdapter(adapter, checkpoint));
  return bindDescription(withAdapters(describeModel(checkpoint), opened), bestOps(), fresh);
}

/** The same tokens as several sequences, each with its own adapters. @shape [sequences][ids][vocab] */
export async function logitsOf(model: BoundModel, ids: readonly number[], adapters: readonly (readonly number[])[]) {
  const count = ids.length * adapters.length;
  const rows = {
    count,
    ids: Int32Array.from({ length: count }, (_, t) => ids[t % ids.length]!),
    positions: Int32Array.from({ length: count }, (_, t) => t % ids.length),
    sequences: Int32Array.from({ length: count }, (_, t) => Math.floor(t / ids.length)),
    blockTables: model.kvGroups.map(() => adapters.map((_, s) => Int32Array.of(s))),
    tokens: adapters.map(() => Int32Array.from(ids)),
    slots: Int32Array.from(adapters.flatMap((_, s) => [-1, s, -1])),
    adapters,
  };
  const out: Float32Array[] = [];
  const { vocab } = model.config;
  await model.forward(
    rows,
    Int32Array.from({ length: count }, (_, t) => t),
    (values, first) => {
      for (let i = 0; i * vocab < values.length; i++) out[first + i] = values.slice(i * vocab, (i + 1) * vocab);
    },
  );
  return adapters.map((_, s) => out.slice(s * ids.length, (s + 1) * ids.length));
}
