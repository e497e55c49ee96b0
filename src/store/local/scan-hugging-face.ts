/**
 * The cache that Hugging Face's libraries and llama.cpp share: `models--org--name/snapshots/<commit>/<file>`, a link
 * to `blobs/<hash>`; `refs/<branch>` holds a commit.
 */
import { realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { graphData, weightNames } from "../../containers/model-folder/weight-names.js";
import { tagOf } from "./quant-names.js";
import { plainModels, readSmall } from "./scan-files.js";
import type { LocalFile, LocalModel } from "./types.js";
import { foldersOf, type WalkedFile, walk } from "./walk.js";

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
  const folder = folderModel(repo, snapshot, files);
  // Repositories keep ONNX files in a folder of their own: each is a model, with the configuration above it.
  const graphs = files.filter(({ file }) => /^onnx\/[^/]+\.onnx$/.test(file));
  const exported = files.some(({ file }) => file === "config.json") ? graphs : [];
  const withGraphs = exported.map((graph): LocalModel => {
    const own = files.filter(({ file }) => file === graph.file || graphData(graph.file, file));
    const tag = graph.file.slice("onnx/".length, -".onnx".length);
    return modelOf({ repo, tag, path: graph.path }, own);
  });
  return [...models, ...(folder === undefined ? [] : [folder]), ...withGraphs];
}

function modelOf(
  { repo, tag, path }: Pick<LocalModel, "repo" | "tag" | "path">,
  files: readonly WalkedFile[],
): LocalModel {
  return {
    ...{ repo, tag, aliases: [], place: "hugging-face", path, files: files.map(withHash) },
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    modifiedMs: Math.max(...files.map(({ modifiedMs }) => modifiedMs)),
  };
}

/**
 * A folder that is a model with all that lies in it but GGUF files: what is beside the weights says how they are read.
 * @param files all below `folder`
 * @returns undefined when its own files are no model
 */
function folderModel(repo: string, folder: string, files: readonly WalkedFile[]): LocalModel | undefined {
  const weights = weightNames(files.flatMap(({ file }) => (file.includes("/") ? [] : [file])));
  if (weights.length === 0) return undefined;
  const kept = files.filter(({ file }) => !/\.gguf$/i.test(file) && !file.startsWith("onnx/"));
  return modelOf({ repo, tag: "", path: folder }, kept);
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
