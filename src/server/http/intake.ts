/**
 * Bytes of large request bodies, counted from their arrival until their answer begins: buffer, text, and what waits to
 * be tokenized are all made of them. Bounded together for the process, because its memory is; one body alone may be
 * larger.
 */
import type { Context } from "hono";
import { collectYoung } from "../../process/idle.js";
import type { ServerConfig } from "./config.js";
import { busy, type HttpError } from "./http-error.js";

/** Bodies up to here are read whatever else arrives: as many as there are connections. */
export const smallBytes = 64 * 1024;
/**
 * A body leaves about three times its size behind: what it grew out of, itself, its text. V8 hears late of what lies
 * outside its heap.
 */
const garbagePerByte = 3;
const maxGarbage = 8 * 2 ** 20;

const held = new WeakMap<Context, number>();
let all = 0;
let garbage = 0;

/**
 * Counts a body of this request that takes `bytes` from now on.
 * @throws HttpError 429 with Retry-After when all of them together would take too many; it then counts no longer
 */
export function holdBody(c: Context, bytes: number, { maxIntakeBytes }: ServerConfig): void {
  const before = held.get(c) ?? 0;
  const others = all - before;
  if (bytes > smallBytes && others > 0 && others + bytes > maxIntakeBytes) throw tooMany();
  held.set(c, bytes);
  all = others + bytes;
}

/** The answer begins, or the body was refused. @returns whether a collection is worth its time */
export function releaseBody(c: Context): boolean {
  const bytes = held.get(c) ?? 0;
  held.delete(c);
  all -= bytes;
  if (bytes <= smallBytes) return false;
  garbage += garbagePerByte * bytes;
  if (garbage < maxGarbage) return false;
  garbage = 0;
  return true;
}

/** Bytes that passed through since the last look. */
let passed = 0;
const mostPassed = 2 * 2 ** 20;

/** Bytes came from a client, read or thrown away: the buffers they came in are garbage soon. */
export function passBytes(bytes: number): void {
  passed += bytes;
  if (passed < mostPassed) return;
  passed = 0;
  collectYoung();
}

function tooMany(): HttpError {
  return busy(429, "too many large requests at the same time", "too_many_bytes", 2);
}
