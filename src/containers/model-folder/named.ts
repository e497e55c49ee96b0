/** Which container a path names, told by its name and its neighbours: no reader of containers is loaded for that. */
import { existsSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";

/** A model's folder as a path names it. */
export interface ModelFolder {
  readonly folder: string;
  /** The checkpoint that was named, where a folder may hold others. */
  readonly file?: string;
}

const described = /^(config\.json|index\.json|.*\.safetensors(\.index\.json)?|.*\.bin\.index\.json)$/;
const single = /\.(bin|pth?|onnx)$/;

/**
 * The folder of a model that a path names: itself, or that of its config.json, weights or index.
 * @returns undefined when the path names something else
 */
export function modelFolderOf(path: string): ModelFolder | undefined {
  const found = kindOf(path);
  if (found === undefined) return undefined;
  if (found.isDirectory()) return { folder: path };
  const name = path.replace(/^.*[/\\]/, "");
  if (!described.test(name) && !single.test(name)) return undefined;
  const own = path.slice(0, path.length - name.length) || ".";
  // Repositories keep ONNX files in a folder of their own beside config.json.
  const above = name.endsWith(".onnx") && !existsSync(join(own, "config.json"));
  const folder = above ? join(own, "..") : own;
  if (!existsSync(join(folder, "config.json"))) return undefined;
  // A shard is named for its folder; any other checkpoint for itself.
  const whole =
    described.test(name) || (name.endsWith(".bin") && existsSync(join(folder, "pytorch_model.bin.index.json")));
  return whole ? { folder } : { folder, file: path };
}

export function isApr(path: string): boolean {
  return /\.apr$/i.test(path);
}

/** Whatever the system refuses is said by whoever opens it. */
function kindOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
