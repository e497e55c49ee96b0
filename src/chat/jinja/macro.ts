/** Macros, and the bodies of call blocks, which are macros named `caller`. */

import { compileExpression } from "./compile-expression.js";
import { typeError } from "./errors.js";
import type { Execute } from "./execute.js";
import { enter, leave } from "./limits.js";
import type { Runtime } from "./runtime.js";
import type { Block, Parameter } from "./syntax.js";
import { type Arguments, Callable, Dict, orElse, Tuple, Undefined, type Value } from "./values.js";

/** Names that a macro's body may ask for beside its parameters. */
const special = ["varargs", "kwargs", "caller"] as const;
type Special = (typeof special)[number];

export function compileMacro(
  name: string,
  parameters: readonly Parameter[],
  block: Block,
  compileBlock: (block: Block) => Execute,
): (r: Runtime) => Callable {
  const body = compileBlock(block);
  const defaults = parameters.map(({ or }) => (or === undefined ? undefined : compileExpression(or)));
  const uses = new Set(special.filter((word) => mentions(block, word) || mentions(parameters, word)));
  return (r) => {
    const outer = r.scope;
    const call = (args: Arguments): Value =>
      r.inScope(outer, (scope) => {
        enter();
        try {
          const { values, extra, named } = bind(name, parameters, args, uses);
          if (uses.has("varargs")) scope.names.set("varargs", new Tuple(extra));
          if (uses.has("caller"))
            scope.names.set(
              "caller",
              orElse(named.get("caller"), () => new Undefined("No caller defined")),
            );
          named.delete("caller");
          if (uses.has("kwargs")) scope.names.set("kwargs", Dict.of(named));
          for (const [i, parameter] of parameters.entries()) {
            const value = values[i] === undefined ? defaults[i]?.(r) : values[i];
            scope.names.set(
              parameter.name,
              orElse(value, () => new Undefined(`parameter '${parameter.name}' was not provided`)),
            );
          }
          return r.capture(() => body(r));
        } finally {
          leave();
        }
      });
    return new Callable(name, call, "macro", (attribute) => {
      if (attribute === "arguments") return new Tuple(parameters.map((p) => p.name));
      if (attribute === "catch_kwargs") return uses.has("kwargs");
      if (attribute === "catch_varargs") return uses.has("varargs");
      return attribute === "caller" ? uses.has("caller") : undefined;
    });
  };
}

function bind(name: string, parameters: readonly Parameter[], args: Arguments, uses: ReadonlySet<Special>) {
  const named = new Map(args.named);
  const values = parameters.map((parameter, i) => {
    const value = args.positional[i];
    const byName = named.get(parameter.name);
    if (byName === undefined) return value;
    if (value !== undefined) throw typeError(`macro '${name}' got multiple values for argument '${parameter.name}'`);
    named.delete(parameter.name);
    return byName;
  });
  const extra = args.positional.slice(parameters.length);
  if (extra.length > 0 && !uses.has("varargs"))
    throw typeError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
  const unknown = [...named.keys()].find((key) => key !== "caller" || !uses.has("caller"));
  if (unknown !== undefined && !uses.has("kwargs"))
    throw typeError(`macro '${name}' takes no keyword argument '${unknown}'`);
  return { values, extra, named };
}

/** Whether a syntax tree has the name anywhere. */
function mentions(tree: unknown, name: string): boolean {
  if (Array.isArray(tree)) return tree.some((item) => mentions(item, name));
  if (typeof tree !== "object" || tree === null) return false;
  const node = tree as { type?: unknown; name?: unknown };
  if (node.type === "name" && node.name === name) return true;
  return Object.values(tree).some((child) => typeof child === "object" && mentions(child, name));
}
