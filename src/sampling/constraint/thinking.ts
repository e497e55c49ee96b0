/** Thinking before an answer: free text between signs, in which no constraint holds. */
import { choice, type Grammar, type Node, nothing, repeat, ruleOf, sequence, text } from "./grammar/ir.js";
import type { Term, Terms } from "./regex/terms.js";
import type { ConstraintTokenizer } from "./vocabulary.js";

export interface Thinking {
  /** Thinking is under way when the answer begins: the prompt has opened it. */
  readonly opened: boolean;
  readonly open: readonly string[];
  readonly close: readonly string[];
}

/** The same grammar behind what may be thought, or, where it is under way, has to be ended. */
export function behindThinking(
  terms: Terms,
  grammar: Grammar,
  { opened, open, close }: Thinking,
  tokenizer: ConstraintTokenizer,
): Grammar {
  const blanks = text(terms.repeat(terms.class([0x0a, 0x0a, 0x20, 0x20]), 0, 4));
  const inside = sequence(
    withoutTexts(terms, close),
    choice(close.map((one) => spelled(terms, one, tokenizer))),
    blanks,
  );
  const opener = choice(open.map((one) => spelled(terms, one, tokenizer)));
  const thought = opened ? inside : repeat(sequence(opener, inside), 0, 1);
  const rules = [...grammar.rules, sequence(thought, ruleOf(grammar.root))];
  return { rules, names: [...grammar.names, "answer behind thinking"], root: rules.length - 1 };
}

/** Any text in which none of these occurs. */
export function withoutTexts(terms: Terms, texts: readonly string[]): Node {
  return text(termWithout(terms, texts));
}

export function termWithout(terms: Terms, texts: readonly string[]): Term {
  const wanted = texts.filter((one) => one !== "");
  const inside = wanted.map((one) => terms.sequence([terms.all, terms.literal(one), terms.all]));
  return terms.not(terms.alt(inside));
}

/** A text whose control tokens may come as tokens or be spelled. */
export function spelled(terms: Terms, wanted: string, tokenizer: ConstraintTokenizer): Node {
  if (wanted === "") return nothing;
  const ids = tokenizer.encode(wanted, { parseSpecial: true, addSpecial: false });
  const parts: Node[] = [];
  let rest = wanted;
  for (const id of ids) {
    if (tokenizer.tokenKind(id) !== "control") continue;
    const name = tokenizer.piece(id);
    const at = rest.indexOf(name);
    if (at < 0) continue;
    if (at > 0) parts.push(text(terms.literal(rest.slice(0, at))));
    parts.push(choice([{ kind: "token", ids: new Set([id]), except: false }, text(terms.literal(name))]));
    rest = rest.slice(at + name.length);
  }
  if (rest !== "") parts.push(text(terms.literal(rest)));
  return sequence(...parts);
}
