/** The tensors that a model's functions name, in the order in which they name them. */
import type { ContainerFormat } from "../formats/types.js";
import type { From, MatrixOptions, VectorOptions, VectorWeight, Weight } from "./flow/flow.js";
import { layerPrefix, type Role, type RowRun, type TensorDeclaration } from "./flow/tensors.js";

/** Where the tensors are to come from: a file, or paper. */
export interface TensorSource {
  readonly format: ContainerFormat;
  /** By full GGUF name; of optional tensors only, or of all. */
  has(name: string): boolean;
  /** Whether a matrix lies there the other way round. */
  transposed?(name: string): boolean;
  /** The rank of a matrix of which only the factors are there. */
  rank?(name: string): number | undefined;
}

/**
 * Norms scatter around one; they would hide their own removal otherwise. Biases matter, and do not drown the products.
 */
const vectorFill = [1, 0.2] as const;
const biasFill = [0, 0.3] as const;

/** Names of the factors of a matrix, behind its own: those that GGUF has for the pairs of adapters. */
export const factorSuffixes = { first: "lora_a", second: "lora_b" } as const;

type Suffix = "weight" | "bias";
type Rest = Omit<TensorDeclaration, "name" | "layer">;

export class TensorTable {
  /** The layer that is being written; -1 outside. */
  layer = -1;
  readonly #found = new Map<string, TensorDeclaration>();
  /** Tensors that others are made of. */
  readonly #parts = new Map<string, TensorDeclaration>();
  readonly #source: TensorSource;

  constructor(source: TensorSource) {
    this.#source = source;
  }

  list(): TensorDeclaration[] {
    return [...this.#found.values()];
  }

  #fullName(name: string): string {
    return this.layer < 0 ? name : layerPrefix(this.layer) + name;
  }

  has(name: string): boolean {
    const full = this.#fullName(name);
    return this.#source.has(full) || this.#source.rank?.(full) !== undefined;
  }

  /** One declaration for each name; the first says what it is. */
  #declare(local: string, shared: boolean, rest: Rest): TensorDeclaration {
    return this.#once(this.#found, local, shared, rest);
  }

  #once(among: Map<string, TensorDeclaration>, local: string, shared: boolean, rest: Rest): TensorDeclaration {
    const name = shared ? local : this.#fullName(local);
    const known = among.get(name);
    if (known !== undefined) return known;
    const made = { name, layer: shared ? -1 : this.layer, ...rest };
    among.set(name, made);
    return made;
  }

  /**
   * The runs of rows that a tensor is made of.
   * @param cols of a matrix; none of a vector, whose values are rows
   */
  #runs(from: From, suffix: Suffix, cols: readonly number[], rows: number, experts: number, rest: Rest): RowRun[] {
    const part = (name: string, shape: readonly number[]): TensorDeclaration =>
      this.#once(this.#parts, `${name}.${suffix}`, false, { ...rest, shape: [...cols, ...shape] });
    const whole = (name: string, count: number): RowRun => ({ tensor: part(name, [count]), from: 0, count });
    if ("stack" in from) return from.stack.map((name) => whole(name, rows));
    if ("concat" in from) return from.concat.map(([name, count]) => whole(name, count));
    if ("transpose" in from) return [whole(from.transpose, rows)];
    if ("oneOf" in from) {
      const { oneOf, count, index } = from;
      return [{ tensor: part(oneOf, [rows, count]), from: index * rows, count: rows }];
    }
    const { split, of, first, heads = 1, stacked = false } = from;
    const groups = experts * heads;
    const shape = groups === 1 ? [of] : experts > 1 || stacked ? [of, groups] : [of * groups];
    const tensor = part(split, shape);
    return Array.from({ length: groups }, (_, g) => ({ tensor, from: g * of + first, count: rows / heads }));
  }

  matrix(name: string, cols: number, rows: number, experts: number, role: Role, o: MatrixOptions): Weight {
    const { or, from, gain = 1, orGain = 1, bias = "none" } = o;
    const shape = experts === 1 ? [cols, rows] : [cols, rows, experts];
    // Routing decides by small differences, and a router is small.
    const floor = role === "router" ? "f32" : o.floor;
    const rest = (g: number) =>
      ({
        kind: "matrix",
        shape,
        role,
        floor,
        optional: false,
        fill: { mean: 0, deviation: g / Math.sqrt(cols) },
      }) as const;
    const local = `${name}.weight`;
    const rank = from === undefined && experts === 1 ? this.#source.rank?.(this.#fullName(local)) : undefined;
    if (rank !== undefined) {
      const factor = (suffix: string, shape: readonly [number, number]): Omit<Weight, "bias"> => {
        const fill = { mean: 0, deviation: gain / Math.sqrt(shape[0]) };
        const tensor = this.#declare(`${local}.${suffix}`, false, { ...rest(gain), shape, fill });
        return { tensor, cols: shape[0], rows: shape[1], experts, transposed: false };
      };
      const first = { ...factor(factorSuffixes.first, [cols, rank]), bias: null };
      const second = factor(factorSuffixes.second, [rank, rows]);
      const added = bias === "none" ? null : this.#bias(name, rows, experts, role, bias === "optional", from);
      return { ...second, bias: added, first };
    }
    const turned = from === undefined && this.#source.transposed?.(this.#fullName(local)) === true;
    const transposed = turned || (from !== undefined && "transpose" in from);
    const own = (): TensorDeclaration => {
      if (turned) return this.#declare(local, false, { ...rest(gain), shape: [rows, cols, ...shape.slice(2)] });
      if (from === undefined) return this.#declare(local, false, rest(gain));
      // It is bound as it lies; whoever multiplies with it knows.
      if (transposed) return this.#declare(`${from.transpose}.weight`, false, { ...rest(gain), shape: [rows, cols] });
      return this.#declare(local, false, {
        ...rest(gain),
        made: this.#runs(from, "weight", [cols], rows, experts, rest(gain)),
      });
    };
    const tensor = or === undefined || this.has(local) ? own() : this.#again(`${or}.weight`, rest(orGain));
    const added = bias === "none" ? null : this.#bias(name, rows, experts, role, bias === "optional", from);
    return { tensor, cols, rows, experts, transposed, bias: added };
  }

  #bias(name: string, rows: number, experts: number, role: Role, optional: boolean, from: From | undefined) {
    const shape = experts === 1 ? [rows] : [rows, experts];
    if (from === undefined) return this.vector(`${name}.bias`, shape, role, { optional, fill: biasFill });
    const [mean, deviation] = biasFill;
    const rest = { kind: "vector", shape, role, floor: "f32", optional, fill: { mean, deviation } } as const;
    const made = this.#runs(from, "bias", [], rows, experts, rest);
    if (optional && !this.#source.has(made[0]!.tensor.name)) return null;
    return { tensor: this.#declare(`${name}.bias`, false, { ...rest, made }), length: rows * experts };
  }

  /** A tensor that is in use already is used as something else too: it is placed and quantized as that. */
  #again(name: string, rest: Rest): TensorDeclaration {
    const known = this.#found.get(name);
    if (known === undefined) return this.#declare(name, true, rest);
    const { role, fill } = rest;
    return Object.assign(known, { role, fill });
  }

  vector(local: string, shape: readonly number[], role: Role, o: VectorOptions): VectorWeight | null {
    const { optional = false, shared = false, fill = vectorFill } = o;
    if (optional && !this.#source.has(shared ? local : this.#fullName(local))) return null;
    const [mean, deviation, sign] = fill;
    const tensor = this.#declare(local, shared, {
      kind: "vector",
      shape,
      role,
      floor: "f32",
      optional,
      fill: { mean, deviation, ...(sign === "negative" && { negative: true }) },
      ...(o.ids !== undefined && { ids: o.ids }),
    });
    const length = shape.reduce((product, size) => product * size, 1);
    return o.each === undefined ? { tensor, length } : { tensor, length: length * o.each, each: o.each };
  }
}
