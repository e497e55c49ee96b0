/**
 * Which experts earlier runs of a model asked for, a file for each model in the user's cache folder: free expert slots
 * are filled in that order when it is opened again (native/io/slots_filling.cc). Only a hint: it changes no token.
 */
import { createHash } from "node:crypto";
import { readdirSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isObject } from "../json-object.js";
import type { ExpertUses } from "../ops/ops.js";
import { readTextSync } from "../regular-file.js";
import { writeWholeSync } from "../replace-file.js";
import { cacheFolder, thisUser } from "../user-folders.js";
import { probeAllowed } from "./probe.js";

const version = 1;
/** Passes of earlier runs count half after so many of later ones. */
const halfLifePasses = 4096;
/** Fewer say little. */
const leastPasses = 16;
/** The models that were used longest ago are forgotten. */
const mostModels = 32;

/**
 * The share of passes that asked for each expert, group after group.
 * @param path of the model; a file of another length is another model
 * @param experts of all groups together
 * @returns undefined when nothing is known, or of a model with other experts
 */
export function rememberedUses(path: string, experts: number, env = process.env): Float32Array | undefined {
  const found = probeAllowed() ? read(usesFile(path, env), experts) : undefined;
  return found === undefined ? undefined : shares(found);
}

/** Adds what a run asked for. Never fails: what cannot be kept is not known the next time. */
export function rememberUses(path: string, { passes, asked }: ExpertUses, env = process.env): void {
  if (!probeAllowed() || passes < leastPasses) return;
  const file = usesFile(path, env);
  const fade = 0.5 ** (passes / halfLifePasses);
  const before = read(file, asked.length);
  const sum = {
    version,
    passes: round((before?.passes ?? 0) * fade + passes),
    asked: Array.from(asked, (count, i) => round((before?.asked[i] ?? 0) * fade + count)),
  };
  try {
    writeWholeSync(file, JSON.stringify(sum));
    forgetOldest(dirname(file));
  } catch {
    // Then the next run does not know it.
  }
}

interface Kept {
  readonly passes: number;
  readonly asked: readonly number[];
}

const round = (value: number): number => Math.round(value * 100) / 100;

function shares({ passes, asked }: Kept): Float32Array {
  return Float32Array.from(asked, (count) => Math.min(1, count / passes));
}

function usesFile(path: string, env: NodeJS.ProcessEnv): string {
  let bytes = 0;
  try {
    bytes = statSync(path).size;
  } catch {
    // A model that is gone has no uses.
  }
  const name = createHash("sha256")
    .update(`${basename(path)} ${bytes}`)
    .digest("hex")
    .slice(0, 32);
  return join(cacheFolder(thisUser(env)), "experts", `${name}.json`);
}

function read(file: string, experts: number): Kept | undefined {
  try {
    const found: unknown = JSON.parse(readTextSync(file));
    if (!isObject(found) || found.version !== version) return undefined;
    const { passes, asked } = found;
    const isCount = (value: unknown): value is number => Number.isFinite(value) && (value as number) >= 0;
    if (!isCount(passes) || passes < 1 || !Array.isArray(asked) || asked.length !== experts) return undefined;
    return asked.every(isCount) ? { passes, asked } : undefined;
  } catch {
    return undefined;
  }
}

function forgetOldest(folder: string): void {
  const files = readdirSync(folder).map((name) => join(folder, name));
  const dated = files.map((file) => ({ file, at: statSync(file).mtimeMs })).sort((a, b) => b.at - a.at);
  for (const { file } of dated.slice(mostModels)) rmSync(file, { force: true });
}
