/** The type of filters. */
import type { Arguments, Value } from "./values.js";

/** The part of a rendering that filters need. */
export interface FilterContext {
  readonly autoescape: boolean;
  readonly truncateLeeway: number;
  filter(name: string, value: Value, args: Arguments): Value;
  test(name: string, value: Value, args: Arguments): boolean;
  /** Reads an attribute path such as `a.b.0` (or a number) of an item. */
  getter(attribute: Value, or?: Value): (item: Value) => Value;
  random(): number;
}

export type Filter = (value: Value, args: Arguments, context: FilterContext) => Value;
