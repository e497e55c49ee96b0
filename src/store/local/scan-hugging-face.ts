/**
 * The cache that Hugging Face's libraries and llama.cpp share: `models--org--name/snapshots/<commit>/<file>`, a link
 * to `blobs/<hash>`; `refs/<branch>` holds a commit.
 */
import { realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { tagOf } from "./quant-names.js";
import { plainModels, readSmall } from "./scan-files.js";
import type { LocalFile, LocalModel } from "./types.js";
import { foldersOf, walk } from "./walk.js";

export function huggingFaceModels(folder: string): LocalModel[] {
  return foldersOf(folder).flatMap((name) => {
    const [, repo] = /^models--(.+)$/.exec(name) ?? [];
    return repo === undefined ? [] : modelsOf(repo.replace("--", "/"), join(folder, name));
  });
}

function modelsOf(repo: string, folder: string): LocalModel[] {
  const newest = readSmall(join(folder, "refs", "main"), 100)?.trim();
  const commits = foldersOf(join(folder, "snapshots"));
  // Of a file in several snapshots that of the branch `main` counts.
  const ordered = [...commits.filter((commit) => commit === newest), ...commits.filter((c) => c !== newest).reverse()];
  const models: LocalModel[] = [];
  const taken = new Set<string>();
  for (const commit of ordered) {
    for (const model of snapshotModels(repo, join(folder, "snapshots", commit))) {
      if (taken.has(model.tag)) continue;
      taken.add(model.tag);
      models.push(model);
    }
  }
  return models;
}

function snapshotModels(repo: string, snapshot: string): LocalModel[] {
  const files = walk(snapshot, 4);
  const models = plainModels("hugging-face", files, (file) => ({ repo, tag: tagOf(file) })).map(
    (model): LocalModel => ({ ...model, files: model.files.map(withHash) }),
  );
  const names = new Set(files.map(({ file }) => file));
  const weights = files.filter(({ file }) => /^[^/]+\.safetensors$/.test(file));
  if (!names.has("config.json") || weights.length === 0) return models;
  // The whole folder is a model: what lies beside the weights says how they are read.
  const kept = files.filter(({ file }) => !/\.gguf$/i.test(file));
  const folder: LocalModel = {
    ...{ repo, tag: "", aliases: [], place: "hugging-face", path: snapshot, files: kept.map(withHash) },
    bytes: kept.reduce((sum, { bytes }) => sum + bytes, 0),
    modifiedMs: Math.max(...kept.map(({ modifiedMs }) => modifiedMs)),
  };
  return [...models, folder];
}

function withHash({ path, bytes }: Pick<LocalFile, "path" | "bytes">): LocalFile {
  const sha256 = blobHash(path);
  return { path, bytes, ...(sha256 !== undefined && { sha256 }) };
}

/** Blobs of large files are named by their SHA-256, those of small ones by git's hash. */
function blobHash(path: string): string | undefined {
  try {
    const real = realpathSync(path);
    const name = basename(real);
    return basename(dirname(real)) === "blobs" && /^[0-9a-f]{64}$/.test(name) ? name : undefined;
  } catch {
    return undefined;
  }
}
