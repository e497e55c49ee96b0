/** The words of a GGUF file on its model, as config.json asks for them. */
import { HundredweightError } from "../errors.js";
import type { Checkpoint } from "../formats/types.js";
import type { ModelDescription } from "../models/index.js";

type Call = ModelDescription["program"]["calls"][number];

export class FolderKeys {
  readonly #checkpoint: Checkpoint;
  readonly #description: ModelDescription;
  readonly arch: string;

  constructor(checkpoint: Checkpoint, description: ModelDescription) {
    [this.#checkpoint, this.#description] = [checkpoint, description];
    this.arch = description.arch;
  }

  /** A number as a person would write it: of single precision the shortest that is the same. */
  number(key: string): number | undefined {
    const value = this.#checkpoint.metadata.get(`${this.arch}.${key}`);
    if (typeof value === "number") return shortest(value);
    // One number for each layer, where they agree.
    if (typeof value !== "object" || typeof value[0] !== "number") return undefined;
    const all = Array.from(value as ArrayLike<number>);
    return all.every((each) => each === all[0]) ? shortest(all[0]!) : undefined;
  }

  flag(key: string): boolean | undefined {
    const value = this.#checkpoint.metadata.get(`${this.arch}.${key}`);
    return typeof value === "boolean" ? value : undefined;
  }

  text(key: string): string | undefined {
    return this.#checkpoint.metadata.string(`${this.arch}.${key}`);
  }

  has(tensor: string): boolean {
    return this.#checkpoint.tensors.has(tensor);
  }

  get layers(): number {
    return this.#description.config.layers;
  }

  get vocab(): number {
    return this.#description.config.vocab;
  }

  get headDim(): number {
    return (
      this.number("attention.key_length") ?? this.number("embedding_length")! / this.number("attention.head_count")!
    );
  }

  /**
   * Whether these modules of the first layer have biases.
   * @throws FORMAT_UNSUPPORTED where some have and some have not: the class has one switch for all
   */
  allBiased(...modules: readonly string[]): boolean {
    const biased = modules.map((name) => this.has(`blk.0.${name}.bias`));
    if (new Set(biased).size < 2) return biased[0]!;
    throw new HundredweightError(
      "FORMAT_UNSUPPORTED",
      `${this.#checkpoint.path}: of ${modules.join(", ")} some have a bias and some have none, ` +
        "which config.json cannot say",
    );
  }

  /** The width under the root by which scores are divided. */
  scoreDivisor(): number {
    const scale = this.#attention(0)?.scale ?? 1 / Math.sqrt(this.headDim);
    return shortest(Math.fround(scale ** -2));
  }

  /** The window of the layers that have one, else null. */
  window(): number | null {
    const windows = this.#windows().filter((window) => window > 0);
    return windows[0] ?? null;
  }

  layerTypes(): string[] {
    return this.#windows().map((window) => (window > 0 ? "sliding_attention" : "full_attention"));
  }

  /** Which layers turn queries and keys. */
  turnedLayers(): boolean[] {
    return this.#byLayer((calls) => calls.some(({ verb }) => verb === "rope"));
  }

  #windows(): number[] {
    return this.#byLayer((_, layer) => {
      const reach = this.#attention(layer)?.sources[0]?.reach ?? "all";
      return typeof reach === "object" && "window" in reach ? reach.window : 0;
    });
  }

  #byLayer<T>(of: (calls: readonly Call[], layer: number) => T): T[] {
    const { calls, layers } = this.#description.program;
    return Array.from({ length: this.layers }, (_, i) => of(calls.slice(layers[i], layers[i + 1]), i));
  }

  #attention(layer: number): Extract<Call, { readonly verb: "attention" }> | undefined {
    const { calls, layers } = this.#description.program;
    return calls
      .slice(layers[layer], layers[layer + 1])
      .find((call): call is Extract<Call, { readonly verb: "attention" }> => call.verb === "attention");
  }
}

/** The shortest decimal that is this number in single precision; of others the number itself. */
export function shortest(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const found = Number(value.toPrecision(digits));
    if (Math.fround(found) === value) return found;
  }
  return value;
}
