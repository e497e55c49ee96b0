/**
 * Turns statements into functions of the rendering. A function says how it ended: on its way, or at break or continue.
 */

import { callValue } from "./access.js";
import { compileArguments, compileExpression, compileFilterChain, type Evaluate } from "./compile-expression.js";
import { TemplateFault, typeError, valueError } from "./errors.js";
import type { Execute } from "./execute.js";
import { step } from "./limits.js";
import { LoopState } from "./loop.js";
import { compileMacro } from "./macro.js";
import type { Runtime, Scope } from "./runtime.js";
import type { Block, Statement, Target } from "./syntax.js";
import type { Str } from "./text.js";
import { listOf, Namespace, truthy, typeName, type Value } from "./values.js";

export function compileBlock(block: Block): Execute {
  const statements = block.map(compileStatement);
  return (r) => {
    for (const statement of statements) {
      step();
      const ending = statement(r);
      if (ending !== "end") return ending;
    }
    return "end";
  };
}

const always =
  (work: (r: Runtime) => void): Execute =>
  (r) => {
    work(r);
    return "end";
  };

function compileStatement(s: Statement): Execute {
  switch (s.type) {
    case "text":
      return always((r) => r.write(s.text));
    case "print": {
      const value = compileExpression(s.value);
      return always((r) => r.print(value(r)));
    }
    case "if":
      return compileIf(s);
    case "for":
      return compileFor(s);
    case "break":
    case "continue": {
      const { type } = s;
      return () => type;
    }
    case "set": {
      const value = compileExpression(s.value);
      const assign = compileTarget(s.target);
      return always((r) => assign(r, r.scope, value(r)));
    }
    case "set-block": {
      const body = compileBlock(s.body);
      const assign = compileTarget(s.target);
      const filter = s.filter === undefined ? undefined : compileFilterChain(s.filter, (r) => captureScoped(r, body));
      return always((r) => assign(r, r.scope, filter === undefined ? captureScoped(r, body) : filter(r)));
    }
    case "macro": {
      const make = compileMacro(s.name, s.parameters, s.body, compileBlock);
      return always((r) => r.scope.names.set(s.name, make(r)));
    }
    case "call-block":
      return compileCallBlock(s);
    case "filter-block": {
      const body = compileBlock(s.body);
      const value = compileFilterChain(s.filter, (r) => captureScoped(r, body));
      return always((r) => r.print(value(r)));
    }
    case "with":
      return compileWith(s);
    case "scope": {
      const body = compileBlock(s.body);
      return (r) => r.inScope(r.scope, () => body(r));
    }
    case "autoescape": {
      const on = compileExpression(s.on);
      const body = compileBlock(s.body);
      return (r) => {
        const before = r.autoescape;
        r.autoescape = truthy(on(r));
        try {
          return r.inScope(r.scope, () => body(r));
        } finally {
          r.autoescape = before;
        }
      };
    }
  }
}

function captureScoped(r: Runtime, body: Execute): Str {
  return r.inScope(r.scope, () => r.capture(() => body(r)));
}

function compileIf(s: Extract<Statement, { type: "if" }>): Execute {
  const branches = s.branches.map(({ test, body }) => ({ test: compileExpression(test), body: compileBlock(body) }));
  const otherwise = compileBlock(s.otherwise);
  return (r) => {
    for (const { test, body } of branches) if (truthy(test(r))) return body(r);
    return otherwise(r);
  };
}

function compileWith(s: Extract<Statement, { type: "with" }>): Execute {
  const assignments = s.assignments.map(({ target, value }) => ({
    assign: compileTarget(target),
    value: compileExpression(value),
  }));
  const body = compileBlock(s.body);
  return (r) => {
    const values = assignments.map(({ value }) => value(r));
    return r.inScope(r.scope, (scope) => {
      for (const [i, { assign }] of assignments.entries()) assign(r, scope, values[i]!);
      return body(r);
    });
  };
}

function compileFor(s: Extract<Statement, { type: "for" }>): Execute {
  const itemsOf = compileExpression(s.items);
  const assign = compileTarget(s.target);
  const test: Evaluate | undefined = s.test === undefined ? undefined : compileExpression(s.test);
  const body = compileBlock(s.body);
  const otherwise = compileBlock(s.otherwise);

  const passes = (r: Runtime, outer: Scope, item: Value): boolean =>
    r.inScope(outer, (scope) => {
      assign(r, scope, item);
      return truthy(test!(r));
    });
  const run = (r: Runtime, value: Value, depth: number): void => {
    const outer = r.scope;
    const all = listOf(value);
    const items = test === undefined ? all : all.filter((item) => passes(r, outer, item));
    const again = (inner: Value): Str => r.capture(() => r.inScope(outer, () => run(r, inner, depth + 1)));
    const state = new LoopState(items, depth, s.recursive ? again : undefined);
    for (const [i, item] of items.entries()) {
      step();
      state.at = i;
      const ending = r.inScope(outer, (scope) => {
        scope.names.set("loop", state.value);
        assign(r, scope, item);
        return body(r);
      });
      if (ending === "break") return;
    }
    if (items.length === 0) r.inScope(outer, () => otherwise(r));
  };
  return always((r) => run(r, itemsOf(r), 0));
}

function compileCallBlock(s: Extract<Statement, { type: "call-block" }>): Execute {
  const makeCaller = compileMacro("caller", s.parameters, s.body, compileBlock);
  const target = compileExpression(s.call.target);
  const args = compileArguments(s.call.args);
  return always((r) => {
    const { positional, named } = args(r);
    r.print(callValue(target(r), { positional, named: new Map([...named, ["caller", makeCaller(r)]]) }));
  });
}

type Assign = (r: Runtime, scope: Scope, value: Value) => void;

function compileTarget(target: Target): Assign {
  if (target.type === "name") return (_r, scope, value) => scope.names.set(target.name, value);
  if (target.type === "attribute") {
    return (r, _scope, value) => {
      const space = r.look(target.name);
      if (!(space instanceof Namespace))
        throw new TemplateFault("TypeError", "cannot assign attribute on non-namespace object");
      space.attributes.set(target.attribute, value);
    };
  }
  const items = target.items.map(compileTarget);
  return (r, scope, value) => {
    const values = unpack(value);
    if (values.length !== items.length) {
      const many = values.length > items.length;
      throw valueError(
        many
          ? `too many values to unpack (expected ${items.length})`
          : `not enough values to unpack (expected ${items.length}, got ${values.length})`,
      );
    }
    for (const [i, assign] of items.entries()) assign(r, scope, values[i]!);
  };
}

function unpack(value: Value): Value[] {
  try {
    return listOf(value);
  } catch (error) {
    if (error instanceof TemplateFault && error.kind === "TypeError")
      throw typeError(`cannot unpack non-iterable ${typeName(value)} object`);
    throw error;
  }
}
