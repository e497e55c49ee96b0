/** Deletes models that `pull` fetched. */
import { rmdirSync, rmSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { type OwnModel, workPath } from "./records.js";

export interface Removed {
  readonly files: readonly string[];
  readonly bytes: number;
}

/**
 * Deletes the files that are the store's own and no other record's, then what was kept beside them. Files of other
 * programs stay where they are.
 * @param models all of the store
 * @throws what the system says
 */
export function removeOwn(model: OwnModel, models: readonly OwnModel[], folder: string): Removed {
  const inside = (path: string): boolean => path.startsWith(`${folder}${sep}`);
  const shared = new Set(models.filter((each) => each !== model).flatMap(({ files }) => files.map(({ path }) => path)));
  const removed = model.files.filter(({ path }) => inside(path) && !shared.has(path));
  for (const { path } of removed) {
    rmSync(path, { force: true });
    const [org = "", name = "", ...rest] = relative(folder, path).split(sep);
    const work = workPath(join(folder, org, name), rest.join("/"));
    for (const ending of ["lock", "part", "journal"]) rmSync(`${work}.${ending}`, { force: true });
    tidy(`${work}.lock`, folder);
    tidy(path, folder);
  }
  if (model.recordPath !== undefined) {
    rmSync(model.recordPath, { force: true });
    tidy(model.recordPath, folder);
  }
  return { files: removed.map(({ path }) => path), bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Folders that are empty now go, too. */
function tidy(path: string, folder: string): void {
  try {
    for (let at = dirname(path); at.startsWith(`${folder}${sep}`); at = dirname(at)) rmdirSync(at);
  } catch {
    // Something is in it.
  }
}
