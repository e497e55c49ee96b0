/** Sets of JSON values as expressions over the schemas of a document; two that are equal are the same object. */
import type { Place } from "./documents.js";

export type Expression =
  | { readonly id: number; readonly kind: "any" | "never" }
  | { readonly id: number; readonly kind: "schema"; readonly place: Place }
  | { readonly id: number; readonly kind: "and" | "or"; readonly parts: readonly Expression[] }
  | { readonly id: number; readonly kind: "not"; readonly part: Expression };

export class Expressions {
  readonly any: Expression = { id: 0, kind: "any" };
  readonly never: Expression = { id: 1, kind: "never" };
  private readonly known = new Map<string, Expression>();

  schema(place: Place): Expression {
    if (place.schema === true) return this.any;
    if (place.schema === false) return this.never;
    return this.keep(`s${place.path}`, (id) => ({ id, kind: "schema", place }));
  }

  and(parts: readonly Expression[]): Expression {
    return this.combine("and", parts, this.any, this.never);
  }

  or(parts: readonly Expression[]): Expression {
    return this.combine("or", parts, this.never, this.any);
  }

  not(part: Expression): Expression {
    if (part.kind === "any") return this.never;
    if (part.kind === "never") return this.any;
    if (part.kind === "not") return part.part;
    return this.keep(`!${part.id}`, (id) => ({ id, kind: "not", part }));
  }

  private combine(kind: "and" | "or", parts: readonly Expression[], unit: Expression, zero: Expression): Expression {
    const set = new Set<Expression>();
    for (const part of parts) {
      if (part.kind === kind) for (const inner of part.parts) set.add(inner);
      else if (part !== unit) set.add(part);
    }
    if (set.has(zero)) return zero;
    if (set.size === 0) return unit;
    if (set.size === 1) return [...set][0]!;
    const sorted = [...set].sort((a, b) => a.id - b.id);
    return this.keep(`${kind}${sorted.map(({ id }) => id).join()}`, (id) => ({ id, kind, parts: sorted }));
  }

  private keep(key: string, make: (id: number) => Expression): Expression {
    let found = this.known.get(key);
    if (found === undefined) {
      found = make(this.known.size + 2);
      this.known.set(key, found);
    }
    return found;
  }
}
