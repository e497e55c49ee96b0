/** How fast the disk gives what a plan streams, asked of the reader that streams it. */
import { type Extent, sliceExtents } from "../../src/formats/index.js";
import { requireAddon } from "../../src/native/addon.js";
import { ioEngines, readRates } from "../../src/native/boundary.js";
import { idsOf, NamedNumbers } from "../../src/native/named-numbers.js";
import type { Plan } from "../../src/weights/plan.js";
import type { PlanMatrix, PlanModel } from "../../src/weights/plan-model.js";

const beginning = (extent: Extent): Extent => ({ ...extent, bytes: Math.min(extent.bytes, 64 * 2 ** 20) });

/** Bytes a second of the extents that a plan streams; at most 2 GiB of them, evenly chosen. Undefined: none. */
export function diskRate(plan: Plan | undefined, model: PlanModel): number | undefined {
  const experts = plan?.slotClasses.length ? model.expertLayers.flatMap((layer) => layer.matrices) : [];
  const all =
    plan === undefined
      ? []
      : [
          ...plan.program.flatMap((t) => sliceExtents(plan.matrices[t.matrix] as PlanMatrix, 0, t.from, t.to)),
          ...experts.flatMap((m) => Object.values(m.planes).flat().slice(0, 1).map(beginning)),
        ];
  const total = all.reduce((sum, extent) => sum + extent.bytes, 0);
  if (total === 0) return undefined;
  const keep = Math.min(1, (2 * 2 ** 30) / total);
  const file = all[0]?.file as string;
  const chosen = all.filter((extent, i) => extent.file === file && Math.floor((i + 1) * keep) > Math.floor(i * keep));
  const out = new NamedNumbers(readRates);
  requireAddon().readRate(
    file,
    true,
    idsOf(ioEngines).automatic,
    8,
    4 * 2 ** 20,
    Float64Array.from(chosen.flatMap((extent) => [extent.offset, extent.bytes])),
    out.values,
  );
  return out.get("bytes") / out.get("seconds");
}
