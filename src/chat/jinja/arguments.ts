/** Arguments of a call, matched with the names of a function's parameters. */
import { typeError } from "./errors.js";
import { isStr, type Str } from "./text.js";
import { type Arguments, isNumber, numeric, typeName, type Value } from "./values.js";

export const noArguments: Arguments = { positional: [], named: new Map() };

/**
 * Values by parameter, undefined where the caller gave none.
 * @param required the first so many must be given
 * @throws TypeError
 */
export function match(
  name: string,
  args: Arguments,
  parameters: readonly string[],
  required: number,
): (Value | undefined)[] {
  if (args.positional.length > parameters.length)
    throw typeError(`${name}() takes at most ${parameters.length} arguments (${args.positional.length} given)`);
  const out: (Value | undefined)[] = parameters.map((_, i) => args.positional[i]);
  for (const [key, value] of args.named) {
    const at = parameters.indexOf(key);
    if (at < 0) throw typeError(`${name}() got an unexpected keyword argument '${key}'`);
    if (out[at] !== undefined) throw typeError(`${name}() got multiple values for argument '${key}'`);
    out[at] = value;
  }
  for (let i = 0; i < required; i++) {
    if (out[i] === undefined) throw typeError(`${name}() missing required argument: '${parameters[i]}'`);
  }
  return out;
}

export function wantStr(value: Value, of: string): Str {
  if (isStr(value)) return value;
  throw typeError(`${of}: a string is required, not ${typeName(value)}`);
}

/** An int in the range of doubles; booleans count. */
export function wantInt(value: Value, of: string): number {
  if (typeof value === "boolean" || typeof value === "number" || typeof value === "bigint") return Number(value);
  throw typeError(`${of}: '${typeName(value)}' object cannot be interpreted as an integer`);
}

export function wantNumber(value: Value, of: string): number {
  if (isNumber(value)) return Number(numeric(value));
  throw typeError(`${of}: a number is required, not ${typeName(value)}`);
}

export const optionalInt = (value: Value | undefined, or: number, of: string): number =>
  value === undefined || value === null ? or : wantInt(value, of);
