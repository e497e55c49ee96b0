/** Whatever a constraint is written in -> grammar. */
import { HundredweightError } from "../../errors.js";
import { compileShape } from "./call-shape.js";
import { parseGbnf } from "./gbnf.js";
import { choice, type Grammar, ruleOf, sequence, text } from "./grammar/ir.js";
import { type CompiledGrammar, RuleBook } from "./grammar/rule-book.js";
import { compileSchema } from "./json/compile.js";
import { parseLark } from "./lark.js";
import { parsePattern } from "./regex/parse.js";
import type { Terms } from "./regex/terms.js";
import type { Constraint, EitherConstraint } from "./source.js";
import { behindThinking, spelled } from "./thinking.js";
import type { ConstraintTokenizer } from "./vocabulary.js";

const mostChoices = 10_000;

/** @throws OPTION_INVALID saying what is wrong, and where */
export function compileGrammar(terms: Terms, constraint: Constraint, tokenizer: ConstraintTokenizer): CompiledGrammar {
  const { grammar, leftOut } = compileAnswer(terms, constraint, tokenizer);
  const { thinking } = constraint;
  // Where calls are looked for in a text, whoever looks knows what is thought.
  const watched = constraint.kind === "shape" && constraint.starts !== undefined;
  if (thinking === undefined || watched) return { grammar, leftOut };
  return { grammar: behindThinking(terms, grammar, thinking, tokenizer), leftOut };
}

function compileAnswer(terms: Terms, constraint: Constraint, tokenizer: ConstraintTokenizer): CompiledGrammar {
  switch (constraint.kind) {
    case "json_schema":
      return compileSchema(terms, constraint.schema, constraint.options);
    case "gbnf":
      return exact(parseGbnf(terms, constraint.grammar, tokenizer));
    case "lark":
      return exact(parseLark(terms, constraint.grammar));
    case "regex":
      return exact(ofTerm(parsePattern(terms, constraint.pattern, { unicodeClasses: true })));
    case "shape":
      return compileShape(terms, constraint, tokenizer);
    case "either":
      return compileEither(terms, constraint, tokenizer);
    case "choice": {
      const { choices } = constraint;
      if (choices.length === 0 || choices.length > mostChoices) {
        throw new HundredweightError("OPTION_INVALID", `choice: a list of 1 to ${mostChoices} texts is needed`);
      }
      return exact(ofTerm(terms.alt(choices.map((choice) => terms.literal(choice)))));
    }
  }
}

function compileEither(terms: Terms, { of }: EitherConstraint, tokenizer: ConstraintTokenizer): CompiledGrammar {
  const book = new RuleBook();
  const ways = of.map(({ before = "", constraint }) => {
    const { grammar, leftOut } = named(constraint.param, () => compileAnswer(terms, constraint, tokenizer));
    book.leaveOut(...leftOut);
    return sequence(spelled(terms, before, tokenizer), ruleOf(book.adopt(grammar)));
  });
  return book.close(book.add("answer", choice(ways)));
}

/** Errors name the field that asked. */
export function named<T>(param: string | undefined, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (param === undefined || !(error instanceof HundredweightError)) throw error;
    const details = { ...error.details, param };
    throw new HundredweightError(error.code, `${param}: ${error.message}`, details, { cause: error });
  }
}

function exact(grammar: Grammar): CompiledGrammar {
  return { grammar, leftOut: [] };
}

function ofTerm(term: Parameters<typeof text>[0]): Grammar {
  return { rules: [text(term)], names: ["answer"], root: 0 };
}
