/**
 * Marks that are looked for in a text that may hold tool calls: where they begin, and where thinking begins and ends.
 */
import type { AllowedTokens } from "../allowed.js";
import type { CallStart } from "./call-shape.js";
import { MarkTree } from "./mark-tree.js";
import type { Thinking } from "./thinking.js";
import type { ConstraintTokenizer } from "./vocabulary.js";

export type Meaning =
  /** Calls begin here; the matcher has read this text. */
  | { readonly is: "calls"; readonly text: string; readonly first: boolean }
  /** A header ends here. */
  | { readonly is: "header"; readonly start: CallStart & { is: "header" } }
  | { readonly is: "thinking" };

/** The marks, made once for a constraint. */
export interface CallMarks {
  readonly meanings: readonly Meaning[];
  readonly tree: MarkTree;
  readonly closers: MarkTree;
  /** Masks by what is begun; undefined: everything may come. */
  readonly masks: Map<string, AllowedTokens | undefined>;
}

export function callMarks(
  starts: readonly CallStart[],
  thinking: Thinking | undefined,
  tokenizer: ConstraintTokenizer,
): CallMarks {
  const marks: { text: string; meaning: Meaning }[] = [];
  const add = (text: string, meaning: Meaning): void => void marks.push({ text, meaning });
  for (const start of starts) {
    if (start.is === "header") {
      add(start.mark, { is: "header", start });
      continue;
    }
    const { opener, named, sure, first } = start;
    const special = throughSpecial(opener, tokenizer);
    const certain = special !== "" ? special : sure ? opener : "";
    for (const text of certain !== "" ? [certain] : named) add(text, { is: "calls", text, first });
  }
  for (const open of thinking?.open ?? []) add(open, { is: "thinking" });
  return {
    meanings: marks.map(({ meaning }) => meaning),
    tree: new MarkTree(marks.map(({ text }) => text)),
    closers: new MarkTree(thinking?.close ?? []),
    masks: new Map(),
  };
}

/** The text up to its last special token: people do not write those, so a call begins. */
function throughSpecial(text: string, tokenizer: ConstraintTokenizer): string {
  const ids = tokenizer.encode(text, { parseSpecial: true, addSpecial: false });
  const last = ids.findLast((id) => ["control", "user"].includes(tokenizer.tokenKind(id)));
  if (last === undefined) return "";
  const name = tokenizer.piece(last);
  return text.slice(0, text.lastIndexOf(name) + name.length);
}
