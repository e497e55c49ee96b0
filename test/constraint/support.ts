/**
 * Constraints without a model: a vocabulary of bytes and a few longer pieces, and what a text makes of a constraint.
 */
import { Constraints } from "../../src/sampling/constraint/constraint.js";
import type { Matcher } from "../../src/sampling/constraint/matcher.js";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import type { ConstraintTokenizer } from "../../src/sampling/constraint/vocabulary.js";

/** Token 256: the end. Token 257: a control token `<tool>`. */
export const endToken = 256;
export const toolToken = 257;

export function bytesTokenizer(pieces: readonly string[] = []): ConstraintTokenizer {
  const longer = pieces.map((piece) => Buffer.from(piece));
  return {
    size: 258 + longer.length,
    pieceBytes: (id) => (id < 256 ? Uint8Array.of(id) : (longer[id - 258] ?? new Uint8Array(0))),
    piece: (id) => (id === endToken ? "<end>" : id === toolToken ? "<tool>" : (pieces[id - 258] ?? "")),
    tokenKind: (id) => (id < 256 ? "byte" : id < 258 ? "control" : "normal"),
    endOfGeneration: new Set([endToken]),
    encode: (text, { parseSpecial = false } = {}) => {
      const parts = parseSpecial ? text.split("<tool>") : [text];
      return Int32Array.from(parts.flatMap((part, i) => [...(i > 0 ? [toolToken] : []), ...Buffer.from(part)]));
    },
  };
}

/** Compiles constraints and asks what they think of texts. */
export class Judge {
  readonly constraints: Constraints;

  constructor(pieces: readonly string[] = []) {
    this.constraints = new Constraints(bytesTokenizer(pieces));
  }

  matcher(constraint: Constraint): Matcher {
    return this.constraints.matcher(constraint);
  }

  /** `whole`: the constraint is fulfilled; `prefix`: it may go on to be; `wrong`. */
  of(constraint: Constraint, text: string | Uint8Array): "whole" | "prefix" | "wrong" {
    const matcher = this.matcher(constraint);
    if (!matcher.acceptBytes(typeof text === "string" ? Buffer.from(text) : text)) return "wrong";
    return matcher.accepts ? "whole" : "prefix";
  }

  accepts(constraint: Constraint, text: string | Uint8Array): boolean {
    return this.of(constraint, text) === "whole";
  }
}
