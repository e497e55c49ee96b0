/** Turns expressions into functions of the rendering, once for all renderings of a template. */
import { callValue, getAttribute, getItem, getSlice } from "./access.js";
import { noArguments } from "./arguments.js";
import { contains, equal, type Order, ordered } from "./compare.js";
import { typeError } from "./errors.js";
import { syntaxError } from "./lexer.js";
import { step } from "./limits.js";
import { binary, negate } from "./operators.js";
import { str } from "./repr.js";
import type { Runtime } from "./runtime.js";
import type { CallArguments, Comparison, Expression, Filtering } from "./syntax.js";
import { concat, isStr, plain } from "./text.js";
import { type Arguments, Dict, List, listOf, Tuple, truthy, Undefined, type Value } from "./values.js";

export type Evaluate = (r: Runtime) => Value;

export function compileExpression(e: Expression): Evaluate {
  switch (e.type) {
    case "constant":
      return () => e.value;
    case "name":
      return (r) => r.look(e.name);
    case "tuple":
    case "list":
      return compileSequence(e.type, e.items.map(compileExpression));
    case "dict":
      return compileDict(e.entries.map(([key, value]) => [compileExpression(key), compileExpression(value)] as const));
    case "not": {
      const operand = compileExpression(e.operand);
      return (r) => !truthy(operand(r));
    }
    case "sign": {
      const operand = compileExpression(e.operand);
      return (r) => negate(operand(r), e.sign);
    }
    case "and":
    case "or":
      return compileLogic(e.type, compileExpression(e.left), compileExpression(e.right));
    case "binary": {
      const left = compileExpression(e.left);
      const right = compileExpression(e.right);
      return (r) => {
        step();
        return binary(e.operator, left(r), right(r));
      };
    }
    case "concat": {
      const parts = e.parts.map(compileExpression);
      return (r) => {
        step();
        return concat(
          parts.map((part) => str(part(r))),
          r.autoescape,
        );
      };
    }
    case "compare":
      return compileComparison(e);
    case "conditional":
      return compileConditional(e);
    case "attribute": {
      const target = compileExpression(e.target);
      return (r) => {
        step();
        return getAttribute(target(r), e.name);
      };
    }
    case "item": {
      const target = compileExpression(e.target);
      const key = compileExpression(e.key);
      return (r) => {
        step();
        return getItem(target(r), key(r));
      };
    }
    case "slice": {
      const target = compileExpression(e.target);
      const [start, stop, stride] = [e.start, e.stop, e.step].map((part) =>
        part === undefined ? none : compileExpression(part),
      ) as [Evaluate, Evaluate, Evaluate];
      return (r) => getSlice(target(r), start(r), stop(r), stride(r));
    }
    case "call": {
      const target = compileExpression(e.target);
      const args = compileArguments(e.args);
      return (r) => {
        step();
        const called = target(r);
        return callValue(called, args(r));
      };
    }
    case "filter": {
      if (e.target === undefined) throw syntaxError("a filter without a value", e.line);
      return compileFilter(e, compileExpression(e.target));
    }
    case "test": {
      const { name } = e;
      const target = compileExpression(e.target);
      const args = compileArguments(e.args);
      return (r) => {
        step();
        return r.test(name, target(r), args(r));
      };
    }
  }
}

const none: Evaluate = () => null;

/** @param target what is filtered: an expression, or the text of a block */
export function compileFilter(e: Filtering, target: Evaluate): Evaluate {
  const { name } = e;
  // One that is unknown fails when it is reached: templates keep filters of other engines in branches that are never
  // taken.
  const args = compileArguments(e.args);
  return (r) => {
    step();
    return r.filter(name, target(r), args(r));
  };
}

/** A chain of filters whose innermost one has no target of its own. */
export function compileFilterChain(e: Filtering, source: Evaluate): Evaluate {
  if (e.target === undefined) return compileFilter(e, source);
  const inner = e.target.type === "filter" ? compileFilterChain(e.target, source) : compileExpression(e.target);
  return compileFilter(e, inner);
}

function compileSequence(type: "tuple" | "list", items: readonly Evaluate[]): Evaluate {
  return (r) => {
    const values = items.map((item) => item(r));
    return type === "tuple" ? new Tuple(values) : new List(values);
  };
}

function compileDict(entries: readonly (readonly [Evaluate, Evaluate])[]): Evaluate {
  return (r) => {
    const dict = new Dict();
    for (const [key, value] of entries) dict.set(key(r), value(r));
    return dict;
  };
}

function compileLogic(type: "and" | "or", left: Evaluate, right: Evaluate): Evaluate {
  return (r) => {
    const value = left(r);
    return truthy(value) === (type === "and") ? right(r) : value;
  };
}

function compileConditional(e: Extract<Expression, { type: "conditional" }>): Evaluate {
  const test = compileExpression(e.test);
  const holds = compileExpression(e.holds);
  const otherwise = e.otherwise === undefined ? undefined : compileExpression(e.otherwise);
  return (r) => {
    if (truthy(test(r))) return holds(r);
    if (otherwise !== undefined) return otherwise(r);
    return new Undefined("the inline if-expression evaluated to false and no else section was defined.");
  };
}

function compileComparison(e: Extract<Expression, { type: "compare" }>): Evaluate {
  const first = compileExpression(e.first);
  const rest = e.rest.map(({ operator, operand }) => ({ operator, operand: compileExpression(operand) }));
  return (r) => {
    let left = first(r);
    for (const { operator, operand } of rest) {
      const right = operand(r);
      if (!compare(operator, left, right)) return false;
      left = right;
    }
    return true;
  };
}

function compare(operator: Comparison, a: Value, b: Value): boolean {
  switch (operator) {
    case "==":
      return equal(a, b);
    case "!=":
      return !equal(a, b);
    case "in":
      return contains(b, a);
    case "not in":
      return !contains(b, a);
    default:
      return ordered(a, b, operator satisfies Order);
  }
}

export function compileArguments(args: CallArguments): (r: Runtime) => Arguments {
  const positional = args.positional.map(compileExpression);
  const named = args.named.map(([name, value]) => [name, compileExpression(value)] as const);
  const rest = args.rest === undefined ? undefined : compileExpression(args.rest);
  const namedRest = args.namedRest === undefined ? undefined : compileExpression(args.namedRest);
  if (positional.length === 0 && named.length === 0 && rest === undefined && namedRest === undefined)
    return () => noArguments;
  return (r) => {
    const values = positional.map((value) => value(r));
    const byName = new Map<string, Value>();
    for (const [name, value] of named) {
      if (byName.has(name)) throw typeError(`keyword argument repeated: ${name}`);
      byName.set(name, value(r));
    }
    if (rest !== undefined) values.push(...listOf(rest(r)));
    if (namedRest !== undefined) {
      const more = namedRest(r);
      if (!(more instanceof Dict)) throw typeError("argument after ** must be a mapping");
      for (const [key, value] of more.entries()) {
        if (!isStr(key)) throw typeError("keywords must be strings");
        byName.set(plain(key), value);
      }
    }
    return { positional: values, named: byName };
  };
}
