/**
 * Keeps what V8 made of the program's sources in a folder, so that the next start does not make it again. Node can do
 * so from 22.1 on (decision 0038).
 */
import * as nodeModule from "node:module";
import { join } from "node:path";
import { cacheFolder } from "../user-folders.js";

/**
 * For this process from here on, and for the threads and processes it starts. Does nothing where Node cannot, where
 * NODE_DISABLE_COMPILE_CACHE says no, and where NODE_COMPILE_CACHE named a folder already.
 */
export function keepCompiled(): void {
  const { enableCompileCache } = nodeModule as { readonly enableCompileCache?: (folder: string) => unknown };
  if (enableCompileCache === undefined || process.env.NODE_COMPILE_CACHE !== undefined) return;
  if (process.env.NODE_DISABLE_COMPILE_CACHE !== undefined) return;
  const folder = join(cacheFolder(), "compiled");
  enableCompileCache(folder); // a folder that cannot be written to is no error
  process.env.NODE_COMPILE_CACHE = folder; // threads and children read it when they begin
}
