/** Which files of a repository are the model that was asked for. */
import { HundredweightError } from "../../errors.js";
import { isCompanion, preferred, stemOf, tagOf } from "../local/quant-names.js";
import { ggufSets } from "../local/walk.js";
import type { HubFile } from "./hub.js";

/** A model of a repository: one file, the shards of a split one, or a folder of weights and what describes them. */
export interface RepoModel {
  readonly tag: string;
  readonly files: readonly HubFile[];
  readonly bytes: number;
  /** Weights of Hugging Face's libraries, not a GGUF file. */
  readonly folder: boolean;
}

const bytesOf = (files: readonly HubFile[]): number => files.reduce((sum, { bytes }) => sum + bytes, 0);

/** All models of a repository, in the order of their names. */
export function modelsOf(files: readonly HubFile[]): RepoModel[] {
  const named = files
    .filter(({ path }) => !isCompanion(path))
    .map((file) => ({ ...file, file: file.path }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const sets = ggufSets(named).map((set): RepoModel => {
    const kept = set.map(({ file: _, ...rest }): HubFile => rest);
    return { tag: tagOf(kept[0]!.path), files: kept, bytes: bytesOf(kept), folder: false };
  });
  if (sets.length > 0) return sets;
  const folder = folderFiles(files);
  return folder.length === 0 ? [] : [{ tag: "", files: folder, bytes: bytesOf(folder), folder: true }];
}

const folderFile =
  /^(.+\.safetensors|.+\.safetensors\.index\.json|[\w.-]+\.json|tokenizer\.model|.+\.jinja|merges\.txt|vocab\.txt)$/;

/** Weights as safetensors with configuration and tokenizer; not the same weights in other forms. */
function folderFiles(files: readonly HubFile[]): HubFile[] {
  const flat = files.filter(({ path }) => !path.includes("/"));
  const wanted = flat.filter(({ path }) => folderFile.test(path));
  const has = (pattern: RegExp): boolean => wanted.some(({ path }) => pattern.test(path));
  return has(/^config\.json$/) && has(/\.safetensors$/) ? wanted : [];
}

/**
 * The model that a tag means: a quantization, a piece of a file's name, or the file itself; without a tag llama.cpp's
 * choice.
 * @throws HUB_REFUSED naming what there is
 */
export function choose(repo: string, models: readonly RepoModel[], tag: string | undefined): RepoModel {
  if (models.length === 0)
    throw new HundredweightError("HUB_REFUSED", `${repo}: holds neither GGUF files nor safetensors with a config.json`);
  if (tag === undefined) return preferred(models)!;
  const asked = tag.toLowerCase();
  const ways: readonly ((model: RepoModel) => boolean)[] = [
    (model) => model.files[0]!.path.toLowerCase() === asked,
    (model) => model.tag.toLowerCase() === asked,
    (model) => stemOf(model.files[0]!.path).toLowerCase() === asked,
    (model) => model.files[0]!.path.toLowerCase().split(/[-./]/).includes(asked),
  ];
  for (const way of ways) {
    const found = models.filter(way);
    if (found.length === 1) return found[0]!;
    if (found.length > 1)
      throw new HundredweightError(
        "HUB_REFUSED",
        `${repo}:${tag} are ${found.length} models: ${shown(found.map(({ files }) => files[0]!.path))}; name the file`,
      );
  }
  const tags = models.map((model) => model.tag || "(a folder of safetensors)");
  throw new HundredweightError("HUB_REFUSED", `${repo} has no '${tag}'; it has ${shown(tags)}`);
}

const shown = (names: readonly string[]): string =>
  `${[...new Set(names)].slice(0, 20).join(", ")}${names.length > 20 ? " ..." : ""}`;
