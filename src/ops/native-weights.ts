/** Weights of the native implementation: files, matrices, and where a placement puts them. */
import { HundredweightError } from "../errors.js";
import { dtypeOf } from "../formats/dtypes.js";
import { checkPlanes, type Extent, layoutBytes } from "../formats/layouts.js";
import type { NativeAddon } from "../native/addon.types.js";
import { expertPolicyNumbers, ioEngines, residencyCounters } from "../native/boundary.js";
import { idsOf, NamedNumbers } from "../native/named-numbers.js";
import { describeLayout } from "./native-layout.js";
import type { Matrix, MatrixSource } from "./ops.js";
import type { ExpertUses, WeightPlacement, WeightTraffic } from "./placement.js";

const engineIds = idsOf(ioEngines);
const defaultDepth = 8;
/** Bytes that are held pass through JavaScript in pieces of this size. */
const heldPieceBytes = 2 ** 20;

export class NativeWeights {
  readonly #addon: NativeAddon;
  readonly #model: number;
  /** Undefined: files are mapped. */
  readonly #placement: WeightPlacement | undefined;
  readonly #files = new Map<string, number>();
  readonly #matrices = new Map<string, Matrix>();
  readonly #stats = new NamedNumbers(residencyCounters);

  constructor(addon: NativeAddon, model: number, placement: WeightPlacement | undefined) {
    this.#addon = addon;
    this.#model = model;
    this.#placement = placement;
  }

  matrix(source: MatrixSource): Matrix {
    if (source.held !== undefined) return this.#held(source, source.held);
    checkPlanes(source);
    const { name, layout, rows, cols, experts, planes, heads = 1 } = source;
    const extents = layout.planes.flatMap((plane, i) =>
      planes[plane.name]!.flatMap((extent) => {
        const file = this.#file(extent.file);
        this.#checkEnd(name, file, extent);
        return [i, file, extent.offset, extent.bytes];
      }),
    );
    const numbers = describeLayout(layout);
    const id = this.#addon.weight(this.#model, numbers, rows, cols, experts, Float64Array.from(extents));
    if (heads > 1) this.#addon.weightHeads(this.#model, id, heads);
    const matrix = { id, name, layout, rows, cols, experts };
    this.#matrices.set(name, matrix);
    return matrix;
  }

  #held({ name, layout, rows, cols, experts }: MatrixSource, fill: NonNullable<MatrixSource["held"]>): Matrix {
    const dtype = dtypeOf(layout);
    const bytes = layoutBytes(layout, rows, cols);
    if (dtype === undefined || bytes === undefined)
      throw new HundredweightError("INTERNAL", `'${name}' of ${layout.name} cannot be held`);
    const id = this.#addon.weightHeld(this.#model, dtype.id, rows, cols, experts);
    const piece = new Uint8Array(Math.min(heldPieceBytes, bytes * experts));
    for (let at = 0; at < bytes * experts; at += piece.length) {
      const part = piece.subarray(0, bytes * experts - at);
      fill(at, part);
      this.#addon.weightFill(this.#model, id, at, part);
    }
    return { id, name, layout, rows, cols, experts };
  }

  #checkEnd(name: string, file: number, { file: path, offset, bytes }: Extent): void {
    const fileBytes = this.#addon.fileBytes(this.#model, file);
    if (offset + bytes > fileBytes)
      throw new HundredweightError(
        "MODEL_CHANGED",
        `${path}: ends at ${fileBytes} bytes, ${name} reaches ${offset + bytes}; the file shrank`,
      );
  }

  #file(path: string): number {
    let file = this.#files.get(path);
    if (file === undefined) {
      file =
        this.#placement === undefined
          ? this.#addon.fileOpen(this.#model, path)
          : this.#addon.fileOpenUnmapped(this.#model, path, this.#placement.io === "direct");
      this.#files.set(path, file);
    }
    return file;
  }

  /** Reads what stays and begins to read ahead.  @throws MEMORY_BUDGET, FILE_IO, MODEL_CHANGED, CANCELLED */
  load(): void {
    const placement = this.#placement;
    if (placement === undefined) return;
    const { pinned, packed, tiles, ringBytes, experts, lock } = placement;
    const flat = (lists: Iterable<readonly number[]>) => Int32Array.from([...lists].flat());
    const policy = new NamedNumbers(expertPolicyNumbers);
    for (const name of expertPolicyNumbers) if (experts !== undefined) policy.set(name, experts.policy[name]);
    this.#addon.place(this.#model, {
      engine: engineIds[placement.engine ?? "automatic"],
      depth: placement.depth ?? defaultDepth,
      pinned: flat([...pinned].filter(([, slices]) => slices > 0).map(([name, slices]) => [this.#id(name), slices])),
      packed,
      ringBytes,
      tiles: flat(tiles.map(({ name, from, to }) => [this.#id(name), from, to])),
      groups: flat(experts?.groups.map((group) => [group.length, ...group.map((name) => this.#id(name))]) ?? []),
      classes: flat(experts?.classes.map((c) => [c.slots, c.groups.length, ...c.groups]) ?? []),
      stagingBytes: experts?.stagingBytes ?? 0,
      policy: policy.values,
      uses: experts?.uses ?? new Float32Array(0),
      lock,
    });
  }

  /** Before a pass.  @throws MEMORY_BUDGET when the limit was lowered too far, CANCELLED */
  watch(): void {
    this.#placement?.watch?.(() => this.#addon.residencyShrink(this.#model));
  }

  /** Not of mapped files: nobody reads those. */
  readDepth(depth: number): void {
    if (this.#placement !== undefined) this.#addon.readerDepth(this.#model, depth);
  }

  #id(name: string): number {
    const matrix = this.#matrices.get(name);
    if (matrix === undefined) throw new HundredweightError("INTERNAL", `'${name}' is placed but was not bound`);
    return matrix.id;
  }

  /** Undefined where no experts lie in slots. */
  expertUses(): ExpertUses | undefined {
    const groups = this.#placement?.experts?.groups;
    if (groups === undefined) return undefined;
    const counts = groups.map(([name]) => this.#matrices.get(name!)!.experts);
    const asked = new Float32Array(counts.reduce((sum, count) => sum + count, 0));
    return { passes: this.#addon.expertUses(this.#model, asked), asked };
  }

  traffic(): WeightTraffic {
    const stats = this.#stats;
    this.#addon.residencyCounters(this.#model, stats.values);
    return {
      diskBytes: stats.get("bytesRead"),
      stallMs: stats.get("stallNs") / 1e6,
      tiles: stats.get("tiles"),
      expertHits: stats.get("expertHits"),
      expertMisses: stats.get("expertMisses"),
      expertsAhead: stats.get("expertsReadAhead"),
      expertsWasted: stats.get("expertsReadForNothing"),
      filledBytes: stats.get("slotBytesFilled"),
      // Products find experts in their slots; those read for the purpose did not lie in memory.
      memoryBytes: stats.get("bytesUsedFromMemory") - stats.get("expertBytesRead"),
      pinnedBytes: stats.get("pinnedBytes"),
      ringBytes: stats.get("ringBytes") + stats.get("stagingBytes"),
      slotBytes: stats.get("slotBytes"),
      lockedBytes: stats.get("lockedBytes"),
    };
  }
}
