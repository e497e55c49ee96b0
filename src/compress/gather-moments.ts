/** Adds up the moments of what goes into products while a model evaluates a text. */
import type { Program } from "../models/index.js";
import { requireAddon } from "../native/addon.js";
import type { NativeAddon } from "../native/addon.types.js";
import { defaultThreads } from "../native/threads.js";
import { type MomentSums, momentBlock, momentTile, momentValues } from "./moments.js";

/** Widths of a block from which the widest that fits is taken; 256 is the least. */
const widths = [Number.POSITIVE_INFINITY, 8192, 4096, 2048, 1024, 512, 256] as const;

export class MomentGatherer {
  readonly #addon: Pick<NativeAddon, "addMoments"> = requireAddon();
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #bytes: number;
  readonly #threads: number;
  readonly #sums = new Map<string, MomentSums>();
  #width: number = widths[0];
  #head: string | undefined;

  /** @param bytes that all sums may take; blocks of 256 columns are taken whatever they take */
  constructor(shapes: ReadonlyMap<string, readonly number[]>, bytes: number, threads: number | undefined) {
    this.#shapes = shapes;
    this.#bytes = bytes;
    this.#threads = threads ?? defaultThreads();
  }

  get sums(): ReadonlyMap<string, MomentSums> {
    return this.#sums;
  }

  /** The matrix that makes logits, where it takes the final hidden state as it is. */
  get head(): string | undefined {
    return this.#head;
  }

  /** Chooses how many columns are summed together, by the inputs that the products of a program have. */
  planFor({ calls, outputs }: Program): void {
    const head = calls.find((call) => call.verb === "linear" && call.inputs[0] === outputs.hidden);
    if (head?.verb === "linear") this.#head = head.weights[0]!.tensor.name;
    const inputs = calls.flatMap((call) => {
      if (call.hint) return [];
      if (call.verb === "linear") return [call.weights[0]!];
      return call.verb === "experts" ? [call.body.up] : [];
    });
    const cols = inputs
      .map(({ tensor }) => this.#shapes.get(tensor.name)?.[0] ?? 0)
      .filter((n) => n % momentTile === 0);
    const bytes = (width: number) =>
      cols.reduce((sum, n) => sum + 4 * (n / momentBlock(n, width)!) * momentValues(momentBlock(n, width)!), 0);
    this.#width = Math.min(this.#width, widths.find((width) => bytes(width) <= this.#bytes) ?? 256);
  }

  /** Rows that go into all of these matrices; of experts into any of them. */
  add(tensors: readonly string[], rows: Float32Array): void {
    const entry = this.#entry(tensors[0]!, 1);
    if (entry === undefined) return;
    for (const tensor of tensors) entry.tensors.add(tensor);
    this.#addTo(entry, 0, rows);
  }

  /** Rows that go into one matrix of a stack. */
  addExpert(tensor: string, expert: number, rows: Float32Array): void {
    const entry = this.#entry(tensor, this.#shapes.get(tensor)?.[2] ?? 1);
    if (entry === undefined) return;
    entry.tensors.add(tensor);
    this.#addTo(entry, expert, rows);
  }

  #entry(input: string, matrices: number): MomentSums | undefined {
    const known = this.#sums.get(input);
    const cols = this.#shapes.get(input)?.[0];
    const block = cols === undefined ? undefined : momentBlock(cols, this.#width);
    if (known !== undefined || cols === undefined || block === undefined) return known;
    const sums = Array.from({ length: matrices }, () => new Float32Array((cols / block) * momentValues(block)));
    const entry = { cols, block, sums, rows: new Float64Array(matrices), tensors: new Set<string>() };
    this.#sums.set(input, entry);
    return entry;
  }

  #addTo({ cols, block, sums, rows: counts }: MomentSums, matrix: number, rows: Float32Array): void {
    const count = rows.length / cols;
    if (count === 0) return;
    counts[matrix]! += count;
    this.#addon.addMoments(rows, count, cols, block, sums[matrix]!, this.#threads, null);
  }
}
