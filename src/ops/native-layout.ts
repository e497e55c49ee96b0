/** A layout as the numbers that native code takes it by (boundary.ts, `layoutNumbers`). */
import { actKinds, codeKinds, type Layout, offsetKinds, packings, scaleKinds, unitKinds } from "../formats/layouts.js";
import { idsOf } from "../native/named-numbers.js";

const ids = {
  acts: idsOf(actKinds),
  units: idsOf(unitKinds),
  codes: idsOf(codeKinds),
  packings: idsOf(packings),
  scales: idsOf(scaleKinds),
  offsets: idsOf(offsetKinds),
};

export function describeLayout({ id, order, planes, acts, units, form }: Layout): Float64Array {
  if (units === undefined || form === undefined) return Float64Array.of(id);
  return Float64Array.of(
    Number(order === "inputs"),
    ids.acts[acts!],
    ids.units[units],
    ids.codes[form.codes],
    form.bits,
    ids.packings[form.packing],
    ids.scales[form.scales],
    ids.offsets[form.offsets],
    form.addend,
    form.factor,
    ...planes.flatMap((p) => [p.rows, p.cols, p.bytes, Number(p.whole ?? false), Number(p.flat ?? false)]),
  );
}
