/** The variable `loop` of a for statement. */
import { match } from "./arguments.js";
import { equal } from "./compare.js";
import { typeError } from "./errors.js";
import { enter, leave } from "./limits.js";
import type { Str } from "./text.js";
import { type Arguments, Callable, orElse, Tuple, Undefined, type Value } from "./values.js";

export class LoopState {
  at = 0;
  readonly value: Callable;
  private readonly items: readonly Value[];
  private readonly depth: number;
  private last: Tuple | undefined;

  /** @param again renders the loop over other items, where it is recursive */
  constructor(items: readonly Value[], depth: number, again: ((items: Value) => Str) | undefined) {
    this.items = items;
    this.depth = depth;
    const call = (args: Arguments): Value => {
      if (again === undefined) throw typeError("The loop must have the 'recursive' marker to be called recursively.");
      const [inner] = match("loop", args, ["iterable"], 1);
      enter();
      try {
        return again(inner!);
      } finally {
        leave();
      }
    };
    this.value = new Callable("loop", call, "loop", (name) => this.attribute(name));
  }

  private attribute(name: string): Value | undefined {
    const { at, items, depth } = this;
    switch (name) {
      case "index":
        return at + 1;
      case "index0":
        return at;
      case "revindex":
        return items.length - at;
      case "revindex0":
        return items.length - at - 1;
      case "first":
        return at === 0;
      case "last":
        return at === items.length - 1;
      case "length":
        return items.length;
      case "depth":
        return depth + 1;
      case "depth0":
        return depth;
      case "previtem":
        return orElse(items[at - 1], () => new Undefined("there is no previous item"));
      case "nextitem":
        return orElse(items[at + 1], () => new Undefined("there is no next item"));
      case "cycle":
        return new Callable("cycle", ({ positional }) => {
          if (positional.length === 0) throw typeError("no items for cycling given");
          return positional[at % positional.length]!;
        });
      case "changed":
        return new Callable("changed", ({ positional }) => this.changed(new Tuple(positional)));
      default:
        return undefined;
    }
  }

  private changed(values: Tuple): boolean {
    if (this.last !== undefined && equal(this.last, values)) return false;
    this.last = values;
    return true;
  }
}
