/** Errors between threads and processes: what a message can carry of them. */
import { asHundredweightError, type ErrorCode, HundredweightError } from "../errors.js";

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export function toWire(thrown: unknown): WireError {
  const error = asHundredweightError(thrown);
  const details: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error.details)) {
    // What cannot be cloned must not hide the error itself.
    if (typeof value !== "function" && typeof value !== "symbol") details[key] = cloneable(value);
  }
  return { code: error.code, message: error.message, details };
}

function cloneable(value: unknown): unknown {
  try {
    return structuredClone(value);
  } catch {
    return String(value);
  }
}

export function fromWire(error: WireError): HundredweightError {
  return new HundredweightError(error.code, error.message, { ...error.details });
}
