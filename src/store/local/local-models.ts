/** All models on this computer, and the one that a word names. */
import { HundredweightError } from "../../errors.js";
import { modelPlaces } from "./places.js";
import { preferred } from "./quant-names.js";
import { ownModels } from "./records.js";
import { flatModels, janModels, lmStudioModels } from "./scan-files.js";
import { huggingFaceModels } from "./scan-hugging-face.js";
import { ollamaModels } from "./scan-ollama.js";
import { type LocalModel, nameOf, type Place } from "./types.js";

function modelsIn({ kind, folder }: Place): LocalModel[] {
  switch (kind) {
    case "hundredweight":
      return ownModels(folder);
    case "hugging-face":
      return huggingFaceModels(folder);
    case "ollama":
      return ollamaModels(folder);
    case "lm-studio":
      return lmStudioModels(folder);
    case "jan":
      return janModels(folder);
    default:
      return flatModels(kind, folder);
  }
}

/** Reads names and sizes only, no headers. A file that several places list is listed once. */
export function localModels(places: readonly Place[] = modelPlaces()): LocalModel[] {
  const seen = new Set<string>();
  const found: LocalModel[] = [];
  for (const place of places) {
    for (const model of modelsIn(place)) {
      const key = `${model.path}\n${nameOf(model)}`;
      if (seen.has(key)) continue;
      seen.add(key);
      found.push(model);
    }
  }
  return found;
}

/** A file of these bytes by their hash, on this computer. */
export function fileByHash(sha256: string, models: readonly LocalModel[]): string | undefined {
  for (const { files } of models) {
    const found = files.find((file) => file.sha256 === sha256);
    if (found !== undefined) return found.path;
  }
  return undefined;
}

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** `Qwen/Qwen3-8B-GGUF` -> `Qwen3-8B`. */
const shortOf = (repo: string): string => repo.slice(repo.lastIndexOf("/") + 1).replace(/[-.]GGUF$/i, "");

/**
 * The model that a word names, however it is written: `org/name:Q4_K_M`, `org/name` (llama.cpp's choice of
 * quantization), Ollama's `llama3.2` and `llama3.2:1b`, the name of a file, a name given with `pull --as`.
 * @returns undefined when there is none
 * @throws OPTION_INVALID when the word fits models of several repositories
 */
export function findLocal<M extends LocalModel>(word: string, models: readonly M[]): M | undefined {
  const bare = word.replace(/^(?:hf\.co\/|huggingface\.co\/|ollama:)/i, "");
  const colon = bare.lastIndexOf(":");
  const [repo, tag] = colon > 0 ? [bare.slice(0, colon), bare.slice(colon + 1)] : [bare, undefined];
  const tagged = (model: LocalModel): boolean => tag === undefined || same(model.tag, tag);
  // From the most exact to the loosest; the first that finds something decides.
  const ways: readonly ((model: LocalModel) => boolean)[] = [
    (model) => same(nameOf(model), bare) || model.aliases.some((alias) => same(alias, bare)),
    (model) => same(model.repo, repo) && tagged(model),
    (model) => model.aliases.some((alias) => same(`${alias}.gguf`, bare)),
    (model) => same(shortOf(model.repo), repo) && tagged(model),
  ];
  for (const way of ways) {
    const found = models.filter(way);
    const repos = [...new Map(found.map((model) => [model.repo.toLowerCase(), model.repo])).values()];
    if (repos.length === 1 || found.length === 1) return preferred(found);
    if (repos.length > 1) {
      const names = found.slice(0, 6).map(nameOf);
      throw new HundredweightError(
        "OPTION_INVALID",
        `${word}: ${found.length} models have this name: ${names.join(", ")}${found.length > 6 ? " ..." : ""}`,
        { names: found.map(nameOf) },
      );
    }
  }
  return undefined;
}
