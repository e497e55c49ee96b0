/**
 * The form an answer has to have, as it is asked for, and what is made of it for one model: shared by all answers
 * that ask for the same.
 */
import { HundredweightError } from "../../errors.js";
import { callMarks } from "./call-marks.js";
import { CallWatch, type WatchOptions } from "./call-watch.js";
import { Automaton } from "./grammar/automaton.js";
import { Lexemes } from "./grammar/lexemes.js";
import { compileProgram, type Program } from "./grammar/program.js";
import type { LeftOut } from "./grammar/rule-book.js";
import { compileGrammar, named } from "./grammar-source.js";
import type { Guide } from "./guide.js";
import { LexemeMasks } from "./lexeme-masks.js";
import { MaskStore } from "./mask-store.js";
import { Masks } from "./masks.js";
import { type CompiledConstraint, Matcher } from "./matcher.js";
import { Account, Terms } from "./regex/terms.js";
import type { Constraint } from "./source.js";
import { type ConstraintTokenizer, type ConstraintVocabulary, makeVocabulary } from "./vocabulary.js";

/** Bytes of masks kept for a model; plans count them (`weights/plan-fixed.ts`). */
export function maskBytes(vocab: number): number {
  return Math.min(16 * 2 ** 20, 64 * vocab);
}

/**
 * Bytes of automata that are kept: the one that is used last, however large, and others as long as they fit beside it.
 */
export const automatonBytes = 8 * 2 ** 20;
/** Compiled constraints kept: those that were used last. */
const mostKept = 32;
/** The share of lexemes in the bytes of masks: theirs are few, and all grammars have use for them. */
const shareOfLexemes = 0.25;
/** Beyond so many bytes of terms and lexemes the next constraint begins with none. */
const fullLexemes = automatonBytes / 2;

/** Parts that constraints share: strings, numbers and patterns are the same in all of them. */
interface Shared {
  readonly lexemes: Lexemes;
  readonly masks: LexemeMasks;
}

/** The constraints of a model. */
export class Constraints {
  private readonly tokenizer: ConstraintTokenizer;
  private readonly store: MaskStore;
  private readonly storeOfLexemes: MaskStore;
  private readonly kept = new Map<string, CompiledConstraint>();
  private made: ConstraintVocabulary | undefined;
  private shared: Shared | undefined;

  constructor(tokenizer: ConstraintTokenizer) {
    this.tokenizer = tokenizer;
    const bytes = maskBytes(tokenizer.size);
    this.store = new MaskStore(bytes - shareOfLexemes * bytes);
    this.storeOfLexemes = new MaskStore(shareOfLexemes * bytes);
  }

  get vocabulary(): ConstraintVocabulary {
    this.made ??= makeVocabulary(this.tokenizer);
    return this.made;
  }

  /** Makes the tree of tokens, which takes some tenths of a second with a large vocabulary. */
  prepare(): void {
    this.made ??= makeVocabulary(this.tokenizer);
  }

  /** @throws OPTION_INVALID when the constraint cannot be obeyed */
  guide(constraint: Constraint): Guide {
    const compiled = this.compile(constraint);
    if (compiled.marks !== undefined) return new CallWatch(compiled, compiled.marks, constraint as WatchOptions);
    const matcher = new Matcher(compiled);
    const { begun = "" } = constraint.kind === "shape" || constraint.kind === "either" ? constraint : {};
    if (matcher.acceptBytes(Buffer.from(begun))) return matcher;
    throw new HundredweightError("INTERNAL", "constraint: the prompt begins a call in a way that the dialect has not");
  }

  /** @throws OPTION_INVALID when the constraint cannot be obeyed */
  matcher(constraint: Constraint): Matcher {
    return new Matcher(this.compile(constraint));
  }

  /** @throws OPTION_INVALID */
  compile(constraint: Constraint): CompiledConstraint {
    const { param, ...what } = constraint;
    const key = JSON.stringify(what);
    let found = this.kept.get(key);
    this.kept.delete(key);
    if (found === undefined || found.automaton.isFull) {
      found?.masks.forget();
      found = named(param, () => this.make(constraint));
    }
    this.kept.set(key, found);
    for (const [oldest, compiled] of this.kept) {
      if (compiled === found || (this.kept.size <= mostKept && this.bytes <= automatonBytes)) break;
      compiled.masks.forget();
      this.kept.delete(oldest);
    }
    return found;
  }

  /** Bytes of automata, and of what they share. */
  private get bytes(): number {
    const shared = new Set<Lexemes>();
    let bytes = 0;
    for (const { automaton } of this.kept.values()) {
      bytes += automaton.bytes;
      shared.add(automaton.lexemes);
    }
    for (const lexemes of shared) bytes += lexemes.bytes;
    return bytes;
  }

  private share(): Shared {
    if (this.shared !== undefined && this.shared.lexemes.bytes > fullLexemes) {
      this.shared.masks.forget();
      this.shared = undefined;
    }
    if (this.shared === undefined) {
      const lexemes = new Lexemes(new Terms());
      this.shared = { lexemes, masks: new LexemeMasks(lexemes, this.vocabulary, this.storeOfLexemes) };
    }
    return this.shared;
  }

  private make(constraint: Constraint): CompiledConstraint {
    const { vocabulary } = this;
    if (vocabulary.trie.nodes === 0) {
      throw new HundredweightError("OPTION_INVALID", "the model file has no vocabulary that a constraint could use");
    }
    const { lexemes, masks: ofLexemes } = this.share();
    const account = new Account();
    const { program, leftOut } = parsed(constraint, this.tokenizer, lexemes, account);
    const automaton = new Automaton(program, lexemes, account);
    const masks = new Masks(automaton, ofLexemes, vocabulary, this.store);
    const watched = constraint.kind === "shape" ? constraint.starts : undefined;
    const marks = watched && callMarks(watched, constraint.thinking, this.tokenizer);
    return { automaton, vocabulary, leftOut, masks, marks };
  }
}

/** @param account pays for the terms */
function parsed(
  constraint: Constraint,
  tokenizer: ConstraintTokenizer,
  lexemes: Lexemes,
  account: Account,
): { readonly program: Program; readonly leftOut: readonly LeftOut[] } {
  lexemes.terms.account = account;
  const { grammar, leftOut } = compileGrammar(lexemes.terms, constraint, tokenizer);
  return { program: compileProgram(grammar, lexemes), leftOut };
}

/**
 * Whether a constraint can be obeyed, found out without a vocabulary: a server asks before anything is answered.
 * @returns what of it will not be enforced
 * @throws OPTION_INVALID when it cannot
 */
export function checkConstraint(constraint: Constraint, tokenizer: ConstraintTokenizer): readonly LeftOut[] {
  return named(constraint.param, () => parsed(constraint, tokenizer, new Lexemes(new Terms()), new Account()).leftOut);
}
