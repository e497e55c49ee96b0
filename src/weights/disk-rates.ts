/** How a disk's rate depends on the size of reads and on how many are in flight. */

/** Rates of reads, smallest and fewest first. */
export interface DiskTable {
  readonly requestBytes: readonly number[];
  readonly depths: readonly number[];
  /** Bytes per second. @shape [requestBytes][depths] */
  readonly bytesPerSecond: readonly (readonly number[])[];
}

/** As the ring reads when nothing is known. */
export const usualRequestBytes = 4 * 2 ** 20;
export const usualDepth = 8;
const usualDepths = [1, 2, 4, usualDepth, 2 * usualDepth];
/** A disk nobody measured is taken to reach half of its rate with this much in flight. */
const halfRateBytes = 256 * 1024;
/** A rate so near to the best is the best: tables are measured in a second and noisy. */
const asGood = 0.95;

export interface DiskProfile {
  /** It was measured, or is a guess: rates of a table are taken as shares of its fastest cell. */
  readonly diskReadBytesPerSecond: number;
  readonly diskTable?: DiskTable;
}

/**
 * Bytes per second of reads of this size, so many in flight; between measured cells on the line through their
 * logarithms.
 */
export function diskRate({ diskReadBytesPerSecond, diskTable }: DiskProfile, bytes: number, depth: number): number {
  if (diskTable === undefined) {
    const usual = usualRequestBytes * usualDepth;
    const share = (inFlight: number) => inFlight / (inFlight + halfRateBytes);
    return (diskReadBytesPerSecond * share(Math.min(usual, bytes * depth))) / share(usual);
  }
  const { requestBytes, depths, bytesPerSecond } = diskTable;
  const [i, x] = between(requestBytes, bytes);
  const [j, y] = between(depths, depth);
  const along = (row: readonly number[]) => row[j]! + y * ((row[j + 1] ?? row[j]!) - row[j]!);
  const [lower, upper] = [along(bytesPerSecond[i]!), along(bytesPerSecond[i + 1] ?? bytesPerSecond[i]!)];
  return (diskReadBytesPerSecond * (lower + x * (upper - lower))) / fastestCell(diskTable).rate;
}

/** Another way has to be this much faster than the usual one: virtual disks are noisy. */
export const worthwhile = 1.1;

/** The cell whose rate stands for a disk. */
export interface DiskCell {
  readonly requestBytes: number;
  readonly depth: number;
  readonly rate: number;
}

/** A plan asks for rates a hundred thousand times, of one table. */
const fastest = new WeakMap<DiskTable, DiskCell>();

/**
 * The usual size and depth unless another is faster by more than noise; the whole table's rates are shares of this
 * one's.
 */
export function fastestCell(table: DiskTable): DiskCell {
  const known = fastest.get(table);
  if (known !== undefined) return known;
  const { requestBytes, depths, bytesPerSecond } = table;
  const cells = requestBytes.flatMap((size, i) =>
    depths.map((depth, j) => ({ requestBytes: size, depth, rate: bytesPerSecond[i]![j]! })),
  );
  const best = cells.reduce((a, b) => (b.rate > a.rate ? b : a));
  const usual = cells.find((cell) => cell.requestBytes === usualRequestBytes && cell.depth === usualDepth);
  const found = usual === undefined || best.rate > worthwhile * usual.rate ? best : usual;
  fastest.set(table, found);
  return found;
}

/** The fewest reads of this size, at most `most`, that are about as fast as any number of them. */
export function bestDepth(disk: DiskProfile, bytes: number, most: number): number {
  const measured = disk.diskTable?.depths ?? usualDepths;
  const last = Math.min(most, measured.at(-1)!);
  const depths = [...measured.filter((depth) => depth < last), last];
  const rates = depths.map((depth) => diskRate(disk, bytes, depth));
  const enough = asGood * Math.max(...rates);
  return depths[rates.findIndex((rate) => rate >= enough)]!;
}

/**
 * Where a value lies on an ascending scale: the cell at or below it and how far beyond, in logarithms; the ends hold.
 */
function between(scale: readonly number[], value: number): [index: number, share: number] {
  let index = 0;
  while (index + 1 < scale.length && scale[index + 1]! <= value) index++;
  const [low, high] = [scale[index]!, scale[index + 1]];
  if (high === undefined || value <= low) return [index, 0];
  return [index, Math.log(value / low) / Math.log(high / low)];
}
