/** Lists of the boundary table in use: ids of names, and numbers that are passed at once. */

/** The place of each name in a list, which is its id. */
export function idsOf<Name extends string>(names: readonly Name[]): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name, id) => [name, id])) as Record<Name, number>;
}

/** Numbers that the addon writes or reads, by their names. */
export class NamedNumbers<Name extends string> {
  /** The array that is passed. */
  readonly values: Float64Array;
  readonly #names: readonly Name[];
  readonly #ids: Readonly<Record<Name, number>>;

  constructor(names: readonly Name[]) {
    this.#names = names;
    this.#ids = idsOf(names);
    this.values = new Float64Array(names.length);
  }

  get(name: Name): number {
    return this.values[this.#ids[name]]!;
  }

  set(name: Name, value: number): void {
    this.values[this.#ids[name]] = value;
  }

  /** All of them as they are now. */
  all(): Record<Name, number> {
    return Object.fromEntries(this.#names.map((name, i) => [name, this.values[i]])) as Record<Name, number>;
  }
}
