/** All dialects, in the order in which their signs are looked for in a template. */
import { hermes, jsonRows } from "./json-rows.js";
import { nameRows } from "./name-rows.js";
import { tagRows } from "./tag-rows.js";
import type { Dialect } from "./types.js";

/** Hermes is last: its mark is used by others for something else. */
export const dialects: readonly Dialect[] = [...tagRows, ...nameRows, ...jsonRows, hermes];

/** The dialect that a template writes calls in, as far as its text tells. */
export function dialectOfSigns(template: string): Dialect | undefined {
  return dialects.find(({ signs }) => signs.some((texts) => texts.every((text) => template.includes(text))));
}

export function dialectNamed(name: string): Dialect | undefined {
  return dialects.find((dialect) => dialect.name === name);
}

export { hermes } from "./json-rows.js";
export type { CallForm, Dialect, Piece, ToolShape, WrittenCall } from "./types.js";
export { writeCalls } from "./write-calls.js";
