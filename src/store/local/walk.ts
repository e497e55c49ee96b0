/** Looks through folders that other programs own: bounded, and quiet about what may not be read. */
import { type Dirent, readdirSync, type Stats, statSync } from "node:fs";
import { join, sep } from "node:path";
import { shardName } from "./quant-names.js";

/** More than anybody keeps; a folder that holds more is not looked through to its end. */
const maxEntries = 50_000;

/** Entries in the order of their names; none where the folder is missing or may not be read. */
export function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .slice(0, maxEntries)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch {
    return [];
  }
}

/** Names of folders in a folder; links are not followed. */
export const foldersOf = (folder: string): string[] =>
  entriesOf(folder).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));

/** Undefined: no file, or a link to nowhere. */
export function fileStats(path: string): Stats | undefined {
  try {
    const stats = statSync(path);
    return stats.isFile() ? stats : undefined;
  } catch {
    return undefined;
  }
}

export interface WalkedFile {
  /** Relative to where the walk began, with slashes. */
  readonly file: string;
  readonly path: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** Files below a folder, not in hidden folders; links to files are followed, those to folders are not. */
export function walk(folder: string, depth: number): WalkedFile[] {
  const found: WalkedFile[] = [];
  let entries = 0;
  const visit = (at: string, inside: string, left: number): void => {
    for (const entry of entriesOf(at)) {
      if (++entries > maxEntries) return;
      const path = join(at, entry.name);
      const file = inside === "" ? entry.name : `${inside}/${entry.name}`;
      if (entry.isDirectory()) {
        if (left > 0 && !entry.name.startsWith(".")) visit(path, file, left - 1);
        continue;
      }
      const stats = entry.isFile() || entry.isSymbolicLink() ? fileStats(path) : undefined;
      if (stats !== undefined) found.push({ file, path, bytes: stats.size, modifiedMs: stats.mtimeMs });
    }
  };
  visit(folder, "", depth);
  return found;
}

/** A GGUF model among files: one file, or all shards of a split one in their order. */
export function ggufSets<T extends { readonly file: string }>(files: readonly T[]): T[][] {
  const byName = new Map(files.map((file) => [file.file.split(sep).join("/"), file]));
  const sets: T[][] = [];
  for (const [name, file] of byName) {
    if (!/\.gguf$/i.test(name)) continue;
    const [ending, number, count] = shardName.exec(name) ?? [];
    if (ending === undefined) {
      sets.push([file]);
      continue;
    }
    if (Number(number) !== 1) continue;
    const start = name.slice(0, -ending.length);
    const shards = Array.from({ length: Number(count) }, (_, i) => {
      const shard = String(i + 1).padStart(5, "0");
      return byName.get(`${start}-${shard}-of-${count}${name.slice(-5)}`);
    });
    // One that is not whole cannot be run.
    if (shards.every((shard) => shard !== undefined)) sets.push(shards as T[]);
  }
  return sets;
}
