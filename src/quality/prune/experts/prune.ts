/** A GGUF model without the experts that a text needs least: looked at, chosen, cut, fitted. */
import type { GgufCheckpoint } from "../../../formats/index.js";
import { describeModel } from "../../../models/index.js";
import type { VisitOptions } from "../visit.js";
import { writePruned } from "../write.js";
import { describePruned, withoutExperts, withoutGuesses } from "./cut.js";
import { ExpertRepair } from "./repair.js";
import { type ExpertSaliency, expertReader, expertSaliency, keptExperts, prunableLayers } from "./saliency.js";

export interface ExpertPruning extends VisitOptions {
  /** Experts of each layer that stay. */
  readonly keep: number;
  /** Whether the last matrices of those that stay are fitted to what is missing. */
  readonly repair: boolean;
  /** Bytes that rows of layers may take while experts are fitted; default 1 GiB. */
  readonly rowBytes?: number;
  /** The scores that an earlier call found; the text is not looked at again then. */
  readonly saliency?: readonly ExpertSaliency[];
}

export interface PrunedExperts {
  readonly saliency: readonly ExpertSaliency[];
  /** By layer, ascending. */
  readonly kept: ReadonlyMap<number, Int32Array>;
  /** Blocks that guess further tokens and were left out. */
  readonly blocks: number;
  /** Size of the file, where one was written. */
  readonly bytes?: number;
}

/**
 * @param path file to write; none: it is only said what would go
 * @param chunks ids, each of `chunkTokens`
 * @throws OPTION_INVALID, CANCELLED, what opening, visiting and writing throw
 */
export async function pruneExperts(
  whole: GgufCheckpoint,
  chunks: readonly Int32Array[],
  path: string | undefined,
  options: ExpertPruning,
): Promise<PrunedExperts> {
  const { checkpoint, blocks } = withoutGuesses(whole);
  const saliency = options.saliency ?? (await expertSaliency(checkpoint, chunks, options));
  const description = describeModel(checkpoint);
  const reader = expertReader(description);
  const layers = prunableLayers(description, reader);
  reader.close();
  const kept = keptExperts(layers, saliency, options.keep);
  const cut = withoutExperts(checkpoint, layers, { kept });
  describePruned(checkpoint, cut);
  if (path === undefined) return { saliency, kept, blocks };
  if (!options.repair) return { saliency, kept, blocks, bytes: await writePruned(path, cut, options.signal) };
  // Tensors are written in the order of the file, and layers are fitted as they are written.
  const places = new Map(cut.tensors.map(({ name }, at) => [name, at]));
  const placed = ({ call }: (typeof layers)[number]): number => places.get(call.body.down.tensor.name)!;
  const inOrder = layers.toSorted((a, b) => placed(a) - placed(b));
  const repair = new ExpertRepair(checkpoint, inOrder, kept, chunks, {
    ...options,
    rowBytes: options.rowBytes ?? 2 ** 30,
  });
  try {
    const repaired = (layer: number) => repair.matrices(layer);
    const bytes = await writePruned(path, withoutExperts(checkpoint, layers, { kept, repaired }), options.signal);
    return { saliency, kept, blocks, bytes };
  } finally {
    repair.close();
  }
}
