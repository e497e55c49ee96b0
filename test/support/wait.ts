/**
 * Waits with an end: each says what it waited for and what it had seen by then. A wait without one ends with its file,
 * after minutes, and nobody knows why.
 */
import type { ChildProcess } from "node:child_process";
import { wholeSweeps } from "./sweeps.js";

/** Less than a file of tests has (scripts/test.mjs), more than anything takes on a busy machine. */
export const patienceMs = wholeSweeps ? 3_600_000 : 200_000;

/**
 * Waits for a promise, and not for ever.
 * @param seen what is known of the matter, for the error
 * @throws Error after `ms`
 */
export async function within<T>(
  awaited: Promise<T>,
  what: string,
  seen: () => string = () => "",
  ms = patienceMs,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(inVain(what, seen(), ms))), ms);
  });
  try {
    return await Promise.race([awaited, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Looks until it holds.
 * @throws Error after `ms`
 */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  { ms = patienceMs, everyMs = 20, seen = (): string => "" } = {},
): Promise<void> {
  for (const end = performance.now() + ms; !(await holds()); ) {
    if (performance.now() > end) throw new Error(inVain(what, seen(), ms));
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

function inVain(what: string, seen: string, ms: number): string {
  return `waited ${Math.round(ms / 1000)} s in vain for ${what}${seen === "" ? "" : `; seen: ${seen}`}`;
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;
const howEnded = (child: ChildProcess): string =>
  hasEnded(child) ? `it ended with ${child.exitCode ?? child.signalCode}` : "it runs";

/** Resolves when a process has ended, also one that ended before somebody asked. */
export async function exited(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  await within(new Promise((resolve) => child.once("exit", resolve)), `the end of ${child.spawnargs.join(" ")}`);
}

/**
 * The first that a process writes to standard output or, as a message, to us.
 * @throws Error when it ends before, with what it wrote to standard error since
 */
export async function firstOf<T>(child: ChildProcess, event: "data" | "message"): Promise<T> {
  let said = "";
  const hear = (chunk: unknown): void => {
    said += String(chunk);
  };
  child.stderr?.on("data", hear);
  const source = event === "data" ? child.stdout! : child;
  let first: (value: T) => void = () => {};
  let ended: () => void = () => {};
  const come = new Promise<T>((resolve, reject) => {
    first = resolve;
    ended = () => reject(new Error(`no ${event} of ${child.spawnargs.join(" ")}: ${howEnded(child)}; seen: ${said}`));
  });
  source.once(event, first);
  // Not at its exit: what it wrote may come behind that.
  child.once("close", ended);
  if (hasEnded(child) && child.stdout?.readableEnded !== false) ended();
  try {
    return await within(come, `a ${event} of ${child.spawnargs.join(" ")}`, () => `${howEnded(child)}; ${said}`);
  } finally {
    source.off(event, first);
    child.off("close", ended);
    child.stderr?.off("data", hear);
  }
}

/**
 * Reads until the text has it.
 * @returns all that was read
 * @throws Error when the stream ends before
 */
export async function readUntil(reader: ReadableStreamDefaultReader<string>, what: string): Promise<string> {
  let text = "";
  while (!text.includes(what)) {
    const part = await within(reader.read(), JSON.stringify(what), () => text.slice(-2000));
    if (part.done) throw new Error(`the stream ended without ${JSON.stringify(what)}: ${text.slice(-2000)}`);
    text += part.value;
  }
  return text;
}
