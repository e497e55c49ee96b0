/** Where the programs of an engine's threads and processes lie: beside this one, compiled or as sources. */
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** `room/name` of files in src, each of them an entry of scripts/bundle.mjs. */
export type Program = "link/process" | "link/worker" | "store/folder-worker" | "text/process" | "text/worker";

/**
 * The file of a program, `.ts` where tests run the sources without a build. HUNDREDWEIGHT_PROGRAMS names another folder
 * of them: tests load hundreds of compiled files themselves and start what is shipped.
 */
export function programUrl(name: Program): URL {
  const { HUNDREDWEIGHT_PROGRAMS: folder } = process.env;
  const base =
    folder !== undefined && isAbsolute(folder) ? pathToFileURL(`${folder}/`) : new URL("../", import.meta.url);
  const built = new URL(`${name}.js`, base);
  return existsSync(fileURLToPath(built)) ? built : new URL(`../${name}.ts`, import.meta.url);
}
