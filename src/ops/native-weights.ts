/** Weights of the native implementation: files, matrices, and where a placement puts them. */
import { HundredweightError } from "../errors.js";
import { checkPlanes, type Extent } from "../formats/layouts.js";
import type { NativeAddon } from "../native/addon.types.js";
import type { Matrix, MatrixSource } from "./ops.js";
import type { WeightPlacement, WeightTraffic } from "./placement.js";

const engines = { uring: 1, threads: 2 } as const;
const defaultDepth = 8;
/** Rows that are packed together (native/kernels/packed.h). */
const packedRows = 16;

export class NativeWeights {
  readonly #addon: NativeAddon;
  readonly #host: number;
  /** Undefined: files are mapped. */
  readonly #placement: WeightPlacement | undefined;
  readonly #files = new Map<string, number>();
  readonly #matrices = new Map<string, Matrix>();
  /** Matrices whose rows stay as they are in the file. */
  readonly #plain = new Set<string>();
  readonly #stats = new Float64Array(14);

  constructor(addon: NativeAddon, host: number, placement: WeightPlacement | undefined) {
    this.#addon = addon;
    this.#host = host;
    this.#placement = placement;
  }

  matrix(source: MatrixSource): Matrix {
    checkPlanes(source);
    const { name, layout, rows, cols, experts, planes, heads = 1 } = source;
    const extents = layout.planes.flatMap((plane, i) =>
      planes[plane.name]!.flatMap((extent) => {
        const file = this.#file(extent.file);
        this.#checkEnd(name, file, extent);
        return [i, file, extent.offset, extent.bytes];
      }),
    );
    const id = this.#addon.weight(this.#host, layout.id, rows, cols, experts, Float64Array.from(extents));
    const matrix = { id, name, layout, rows, cols, experts };
    this.#matrices.set(name, matrix);
    if ((rows / heads) % packedRows !== 0 && heads > 1) this.#plain.add(name);
    return matrix;
  }

  #checkEnd(name: string, file: number, { file: path, offset, bytes }: Extent): void {
    const fileBytes = this.#addon.fileBytes(this.#host, file);
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
          ? this.#addon.fileOpen(this.#host, path)
          : this.#addon.fileOpenUnmapped(this.#host, path, this.#placement.io === "direct");
      this.#files.set(path, file);
    }
    return file;
  }

  /** Reads what stays and begins to read ahead.  @throws MEMORY_BUDGET, FILE_IO, MODEL_CHANGED, CANCELLED */
  load(): void {
    const placement = this.#placement;
    if (placement === undefined) return;
    const { pinned, packed, tiles, ringBytes, experts } = placement;
    const addon = this.#addon;
    const host = this.#host;
    const engine = placement.engine === undefined ? 0 : engines[placement.engine];
    addon.readerOpen(host, engine, placement.depth ?? defaultDepth);
    for (const [name, slices] of pinned)
      if (slices > 0) addon.weightPin(host, this.#id(name), slices, packed && !this.#plain.has(name));
    if (experts !== undefined) {
      const groups = experts.groups.flatMap((group) => [group.length, ...group.map((name) => this.#id(name))]);
      const classes = experts.classes.flatMap((c) => [c.slots, c.groups.length, ...c.groups]);
      addon.expertsOpen(host, Int32Array.from(groups), Int32Array.from(classes), experts.stagingBytes);
    }
    if (tiles.length > 0) {
      const flat = new Int32Array(3 * tiles.length);
      for (const [i, { name, from, to }] of tiles.entries()) flat.set([this.#id(name), from, to], 3 * i);
      addon.ringOpen(host, ringBytes, flat);
    }
    addon.residencyLoad(host, placement.lock);
  }

  /** Before a pass.  @throws MEMORY_BUDGET when the limit was lowered too far, CANCELLED */
  watch(): void {
    this.#placement?.watch?.(() => this.#addon.residencyShrink(this.#host));
  }

  /** Not of mapped files: nobody reads those. */
  readDepth(depth: number): void {
    if (this.#placement !== undefined) this.#addon.readerDepth(this.#host, depth);
  }

  #id(name: string): number {
    const matrix = this.#matrices.get(name);
    if (matrix === undefined) throw new HundredweightError("INTERNAL", `'${name}' is placed but was not bound`);
    return matrix.id;
  }

  traffic(): WeightTraffic {
    this.#addon.residencyStats(this.#host, this.#stats);
    const at = (i: number): number => this.#stats[i]!;
    return {
      diskBytes: at(0),
      stallMs: at(1) / 1e6,
      tiles: at(2),
      expertHits: at(3),
      expertMisses: at(4),
      expertsAhead: at(11),
      expertsWasted: at(12),
      // Products find experts in their slots; those read for the purpose did not lie in memory.
      memoryBytes: at(13) - at(5),
      pinnedBytes: at(6),
      ringBytes: at(7) + at(9),
      slotBytes: at(8),
      lockedBytes: at(10),
    };
  }
}
