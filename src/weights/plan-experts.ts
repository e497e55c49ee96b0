/**
 * Expert slots: one pool for all layers, in classes by size, since a mix gives experts of some layers more bits. A slot
 * holds the matrices of one expert, each plane with the pages around it that a direct read brings along.
 */
import { expertPlaneBytes } from "../formats/index.js";
import type { ExpertPolicy } from "../ops/ops.js";
import type { ExpertLayer } from "./plan-model.js";

const page = 4096;

/**
 * How slots decide (native/boundary.ts says what each number does). Uses count for some 64 passes, a conversation's
 * taste; of the eighth that was used longest ago the least used goes; passes of more than 16 rows are prompts, which
 * touch nearly every expert; guesses are worth their reads while half of them come true (decision 0012). Two reads at a
 * time fill free slots while passes run: they use what is left of the disk and are soon out of a miss's way.
 */
export const expertPolicy: ExpertPolicy = {
  halfLifePasses: 64,
  oldShare: 8,
  mostScanned: 256,
  evictingRows: 16,
  leastRight: 0.5,
  trust: 1 / 64,
  slotsPerGuess: 4,
  fillingReads: 2,
};

export interface SlotClass {
  /** Bytes of each plane of each matrix of an expert of this class. */
  readonly segments: readonly number[];
  readonly slotBytes: number;
  readonly layers: readonly number[];
  /** Experts of all its layers. */
  readonly experts: number;
  readonly slots: number;
}

const slotBytesOf = (segments: readonly number[]) =>
  segments.reduce((sum, bytes) => sum + Math.ceil(bytes / page) * page + page, 0);

/** A plan asks hundreds of times for the layers of one model. */
const classesOf = new WeakMap<readonly ExpertLayer[], readonly Omit<SlotClass, "slots">[]>();

function classes(layers: readonly ExpertLayer[]): readonly Omit<SlotClass, "slots">[] {
  const known = classesOf.get(layers) ?? sorted(layers);
  classesOf.set(layers, known);
  return known;
}

function sorted(layers: readonly ExpertLayer[]): Omit<SlotClass, "slots">[] {
  const found = new Map<string, { segments: number[]; layers: number[]; experts: number }>();
  for (const { layer, experts, matrices } of layers) {
    const segments = matrices.flatMap(({ slices, layout }) => layout.planes.map((_, i) => expertPlaneBytes(slices, i)));
    const key = segments.join();
    const known = found.get(key) ?? { segments, layers: [], experts: 0 };
    found.set(key, known);
    known.layers.push(layer);
    known.experts += experts;
  }
  return [...found.values()].map((c) => ({ ...c, slotBytes: slotBytesOf(c.segments) }));
}

/** Slots a pass of one row needs at once: all chosen experts of a layer, of each class. */
export function leastSlotBytes(layers: readonly ExpertLayer[], topK: number): number {
  return classes(layers).reduce((sum, c) => sum + Math.min(topK, c.experts) * c.slotBytes, 0);
}

/**
 * The same share of every class's experts gets slots, topK at least; what is left goes to the classes in turn.
 * @param room at least `leastSlotBytes`
 */
export function makeSlots(layers: readonly ExpertLayer[], topK: number, room: number): SlotClass[] {
  const all = classes(layers);
  const slotsAt = (share: number) =>
    all.map((c) => Math.min(c.experts, Math.max(Math.min(topK, c.experts), Math.floor(share * c.experts))));
  const bytesOf = (slots: readonly number[]) => slots.reduce((sum, n, i) => sum + n * all[i]!.slotBytes, 0);
  let [low, high] = [0, 1];
  if (bytesOf(slotsAt(1)) <= room) low = 1;
  else
    for (let i = 0; i < 50; i++) {
      const middle = (low + high) / 2;
      if (bytesOf(slotsAt(middle)) <= room) low = middle;
      else high = middle;
    }
  const slots = slotsAt(low);
  for (let left = room - bytesOf(slots), progress = true; progress; ) {
    progress = false;
    for (const [i, c] of all.entries())
      if (slots[i]! < c.experts && c.slotBytes <= left) {
        slots[i]!++;
        left -= c.slotBytes;
        progress = true;
      }
  }
  return all.map((c, i) => ({ ...c, slots: slots[i]! }));
}
