/**
 * A pass reads each streamed byte once. The order of a model's tensors is the order of the tiles in the ring, and a
 * product that asks for its tiles out of order has them dropped and read again: the same bits, and up to twice the
 * bytes.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { sliceExtents } from "../../src/formats/index.js";
import { bindDescription, describeModel } from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { createOps } from "../../src/ops/index.js";
import type { WeightPlacement } from "../../src/ops/placement.js";
import { type PlanMatrix, planModel } from "../../src/weights/plan-model.js";
import { type Tile, tileProgram } from "../../src/weights/plan-tiles.js";
import { writeRandomModel } from "../support/random-model.js";
import { textVariants } from "../support/variants.js";

const status = addonStatus();
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}; only native Ops stream`;
if (skip) console.error(`streamed-bytes: ${skip}`);

const folder = mkdtempSync(join(tmpdir(), "hundredweight-streamed-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "model.gguf");

const page = 4096;
const slotBytes = 6 * page;
const ring = { slots: 5, slotBytes, bytes: 5 * slotBytes, depth: 2 };
const passes = 6;

/** Bytes a tile takes from the disk: whole pages around the piece of each plane. */
const pageBytes = (matrix: PlanMatrix, { from, to }: Tile): number =>
  sliceExtents(matrix, 0, from, to).reduce(
    (sum, { offset, bytes }) => sum + Math.ceil((offset + bytes) / page) * page - Math.floor(offset / page) * page,
    0,
  );

interface Found {
  /** Bytes of the tiles of one pass, as planned and in whole pages. */
  readonly planned: number;
  readonly inPages: number;
  /** Read in one of the passes after the first, on average. */
  readonly read: number;
}

/** Streams everything but routed experts; `order` may put the trunk out of order. */
async function measure(order: (trunk: readonly PlanMatrix[]) => readonly PlanMatrix[]): Promise<Found> {
  const description = describeModel(await openCheckpoint(path));
  const model = planModel(description);
  const trunk = order(model.trunk);
  const program = tileProgram(trunk, new Int32Array(trunk.length), ring);
  const experts = model.expertLayers.flatMap(({ matrices }) => matrices);
  const placement: WeightPlacement = {
    io: "direct",
    depth: 2,
    pinned: new Map(experts.map(({ name, slices }) => [name, slices.count])),
    packed: false,
    tiles: program.map(({ matrix, from, to }) => ({ name: trunk[matrix]!.name, from, to })),
    ringBytes: ring.bytes,
    experts: undefined,
    lock: false,
  };
  const ops = createOps({ kind: "native", threads: 2, placement });
  const options = { contextTokens: 64, maxRows: 4, sequences: 1, kvType: "f16", maxLogitRows: 4 } as const;
  const bound = await bindDescription(description, ops, options);
  try {
    const blockTables = bound.kvGroups.map(() => [Int32Array.of(0)]);
    const pass = async (position: number): Promise<number> => {
      const one = (value: number) => Int32Array.of(value);
      // States are read from one slot and written to the other.
      const slots = Int32Array.of(position === 0 ? -1 : (position + 1) % 2, position % 2, -1);
      // Models that look up by earlier tokens find each token's id to be its position.
      const tokens = [Int32Array.from({ length: position + 1 }, (_, p) => p)];
      const own = { count: 1, ids: one(position), positions: one(position), sequences: one(0) };
      await bound.forward({ ...own, blockTables, slots, tokens }, one(0), () => {});
      return ops.traffic!().diskBytes;
    };
    const first = await pass(0);
    let last = first;
    for (let i = 1; i < passes; i++) last = await pass(i);
    const sum = (bytes: (tile: Tile) => number): number => program.reduce((total, tile) => total + bytes(tile), 0);
    return {
      planned: sum((t) => t.bytes),
      inPages: sum((t) => pageBytes(trunk[t.matrix]!, t)),
      read: (last - first) / (passes - 1),
    };
  } finally {
    bound.close();
  }
}

/** The ring reads ahead: two passes may end with another part of it full. */
const slack = ring.bytes / (passes - 1);

const types = { attention: "Q8_0", ffn: "F32", expert: "Q4_0", embedding: "F16", head: "Q8_0" };
const write = ({ arch, variant }: (typeof textVariants)[number]): Promise<void> =>
  writeRandomModel(path, { arch, variant, dims: 256, types, seed: 5, overrides: { block_count: 4 } });

for (const variant of textVariants)
  test(`${variant.arch} ${variant.variant}: a pass reads what is streamed once`, { skip }, async (t) => {
    await write(variant);
    const { planned, inPages, read } = await measure((trunk) => trunk);
    t.diagnostic(`${read} bytes a pass of ${planned}, ${inPages} in whole pages`);
    assert.ok(inPages > 3 * ring.bytes, "the ring holds most of a pass");
    // Where the file system refuses direct reads, pages are read in part.
    assert.ok(read >= planned - slack && read <= inPages + slack, `${read} bytes a pass, planned ${planned}`);
  });

/** A part of each layer with its matrices the other way round. */
const reversed = (role: PlanMatrix["role"]) => (trunk: readonly PlanMatrix[]) => {
  const layers = [...new Set(trunk.map(({ layer }) => layer))];
  return layers.flatMap((layer) => {
    const own = trunk.filter((matrix) => matrix.layer === layer);
    const part = own.filter((matrix) => matrix.role === role).reverse();
    return own.map((matrix) => (matrix.role === role ? part.shift()! : matrix));
  });
};

test("a part whose tensors are declared out of order is noticed", { skip }, async (t) => {
  for (const role of ["attention", "ffn"] as const) {
    await write({ arch: "llama", variant: "dense" });
    const { inPages, read } = await measure(reversed(role));
    t.diagnostic(`${role} reversed: ${read} bytes a pass of ${inPages}`);
    assert.ok(read > inPages + 2 * slack, `${role}: ${read} bytes a pass, ${inPages} planned`);
  }
});
