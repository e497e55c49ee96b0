/** The syntax tree of a template. */
import type { NumberOperator } from "./numbers.js";
import type { Value } from "./values.js";

export interface CallArguments {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  /** `*args` and `**kwargs` */
  readonly rest: Expression | undefined;
  readonly namedRest: Expression | undefined;
}

export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

export type Expression =
  | { readonly type: "constant"; readonly value: Value }
  | { readonly type: "name"; readonly name: string }
  | { readonly type: "tuple" | "list"; readonly items: readonly Expression[] }
  | { readonly type: "dict"; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly type: "not"; readonly operand: Expression }
  | { readonly type: "sign"; readonly sign: "+" | "-"; readonly operand: Expression }
  | { readonly type: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | {
      readonly type: "binary";
      readonly operator: NumberOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly type: "concat"; readonly parts: readonly Expression[] }
  | {
      readonly type: "compare";
      readonly first: Expression;
      readonly rest: readonly { readonly operator: Comparison; readonly operand: Expression }[];
    }
  | {
      readonly type: "conditional";
      readonly test: Expression;
      readonly holds: Expression;
      readonly otherwise: Expression | undefined;
    }
  | { readonly type: "attribute"; readonly target: Expression; readonly name: string }
  | { readonly type: "item"; readonly target: Expression; readonly key: Expression }
  | {
      readonly type: "slice";
      readonly target: Expression;
      readonly start: Expression | undefined;
      readonly stop: Expression | undefined;
      readonly step: Expression | undefined;
    }
  | { readonly type: "call"; readonly target: Expression; readonly args: CallArguments }
  /** Without a target it filters a block. */
  | {
      readonly type: "filter";
      readonly target: Expression | undefined;
      readonly name: string;
      readonly args: CallArguments;
      readonly line: number;
    }
  | {
      readonly type: "test";
      readonly target: Expression;
      readonly name: string;
      readonly args: CallArguments;
      readonly line: number;
    };

export type Filtering = Extract<Expression, { readonly type: "filter" }>;

/** The target of an assignment in `set`, `for` and `with`. */
export type Target =
  | { readonly type: "name"; readonly name: string }
  | { readonly type: "attribute"; readonly name: string; readonly attribute: string }
  | { readonly type: "tuple"; readonly items: readonly Target[] };

export interface Parameter {
  readonly name: string;
  readonly or: Expression | undefined;
}

export type Block = readonly Statement[];

export type Statement =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "print"; readonly value: Expression }
  | {
      readonly type: "if";
      readonly branches: readonly { readonly test: Expression; readonly body: Block }[];
      readonly otherwise: Block;
    }
  | {
      readonly type: "for";
      readonly target: Target;
      readonly items: Expression;
      readonly test: Expression | undefined;
      readonly recursive: boolean;
      readonly body: Block;
      readonly otherwise: Block;
    }
  | { readonly type: "break" | "continue" }
  | { readonly type: "set"; readonly target: Target; readonly value: Expression }
  | {
      readonly type: "set-block";
      readonly target: Target;
      readonly filter: Filtering | undefined;
      readonly body: Block;
    }
  | {
      readonly type: "macro";
      readonly name: string;
      readonly parameters: readonly Parameter[];
      readonly body: Block;
    }
  | {
      readonly type: "call-block";
      readonly call: Extract<Expression, { readonly type: "call" }>;
      readonly parameters: readonly Parameter[];
      readonly body: Block;
    }
  | { readonly type: "filter-block"; readonly filter: Filtering; readonly body: Block }
  | {
      readonly type: "with";
      readonly assignments: readonly { readonly target: Target; readonly value: Expression }[];
      readonly body: Block;
    }
  /** `block` and `generation`: printed where they stand, with names of their own. */
  | { readonly type: "scope"; readonly body: Block }
  | { readonly type: "autoescape"; readonly on: Expression; readonly body: Block };
