/** A conversion as it is said, and what it is known by. */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import type { Checkpoint } from "../formats/types.js";
import type { MadeTensor } from "./gguf-tensors.js";

/** A tensor of the result, and what it is made of. */
export interface PlannedTensor extends Pick<MadeTensor, "name" | "shape" | "changes" | "rounded"> {
  readonly dtype: { readonly name: string };
  readonly from: readonly { readonly name: string; readonly layout: { readonly name: string } }[];
}

/** A file under the same name that was written since is another one. */
export function fileIdentity(path: string): unknown[] {
  const { size, mtimeMs } = statSync(path);
  return [resolve(path), size, mtimeMs];
}

/** Other files under the same names are another source. */
export function sourceIdentity({ files }: Checkpoint): unknown[] {
  return files.map(({ path, bytes }) => [resolve(path), bytes, statSync(path).mtimeMs]);
}
