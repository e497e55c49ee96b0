/** Measures how fast this machine computes what a prompt is made of: products of each type, attention, gates. */
import { dtypeByName, dtypes } from "../formats/index.js";
import type { NativeAddon } from "../native/addon.types.js";
import type { ComputeRates } from "./machine.js";
import { mostUnpackRows } from "./probe-cache.js";

/** Rows of the two products from which the cost of a row and that of unpacking follow. */
const [fewRows, manyRows] = [16, 256];
/** Types by how common they are; what there is no time for is taken for the first one. */
const byUse = ["Q4_K", "Q6_K", "Q8_0", "Q4_0", "Q5_K", "Q5_0", "Q4_1", "F32", "F16", "BF16", "Q3_K", "Q2_K", "IQ4_XS"];

/** @param seconds about how long; the first type is measured whatever it takes */
export function measureCompute(addon: NativeAddon, threads: number, seconds: number): ComputeRates {
  const until = performance.now() + 1000 * seconds;
  const others = dtypes.filter(({ acts, name }) => acts !== undefined && !byUse.includes(name));
  const names = [...byUse, ...others.map(({ name }) => name)];
  const found = new Map<string, { few: number; many: number }>();
  let [attentionOpsPerSecond, gateValuesPerSecond] = [0, 0];
  // Rounds, of which the best count: on a machine that others use too, one moment spoils no figure. The last ones are
  // for the types that most models are of.
  for (const most of [names.length, byUse.length, 6, 6]) {
    attentionOpsPerSecond = Math.max(attentionOpsPerSecond, addon.attentionRate(threads, 0));
    gateValuesPerSecond = Math.max(gateValuesPerSecond, addon.gateRate(threads, 0));
    for (const name of names.slice(0, most)) {
      if (found.size > 0 && performance.now() > until) break;
      const { id } = dtypeByName(name)!;
      const before = found.get(name) ?? { few: 0, many: 0 };
      found.set(name, {
        few: Math.max(before.few, addon.gemmRate(threads, id, fewRows, 0)),
        many: Math.max(before.many, addon.gemmRate(threads, id, manyRows, 0)),
      });
    }
  }
  const products = Object.fromEntries([...found].map(([name, { few, many }]) => [name, costsOf(few, many)]));
  return { products, attentionOpsPerSecond, gateValuesPerSecond };
}

/** Two rates are two times, of which the rows' own part and that of unpacking follow: t(n) = (n + unpack) / rate. */
export function costsOf(few: number, many: number): ComputeRates["products"][string] {
  const [fewTime, manyTime] = [fewRows / few, manyRows / many];
  const row = (manyTime - fewTime) / (manyRows - fewRows);
  const unpack = row > 0 ? fewTime / row - fewRows : mostUnpackRows;
  // On a machine that gives less at one moment than at another the difference may be nonsense; the larger product is
  // the surer figure.
  const unpackRows = Math.min(mostUnpackRows / 4, Math.max(0, unpack));
  return { opsPerSecond: (many * (manyRows + unpackRows)) / manyRows, unpackRows };
}
