/** Folders of plain files: LM Studio's `publisher/model/*.gguf`, Jan's, GPT4All's, llama.cpp's of old. */
import { closeSync, readSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { openRegularSync } from "../../regular-file.js";
import { isCompanion, stemOf, tagOf } from "./quant-names.js";
import type { LocalModel, PlaceKind } from "./types.js";
import { fileStats, ggufSets, type WalkedFile, walk } from "./walk.js";

/** The GGUF models below a folder, each named by `named`. */
export function plainModels(
  place: PlaceKind,
  files: readonly WalkedFile[],
  named: (file: string) => { readonly repo: string; readonly tag: string },
): LocalModel[] {
  return ggufSets(files.filter(({ file }) => !isCompanion(file))).map((shards) => {
    const [first] = shards as [WalkedFile];
    return {
      ...named(first.file),
      aliases: [stemOf(first.file)],
      place,
      path: first.path,
      files: shards.map(({ path, bytes }) => ({ path, bytes })),
      bytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
      modifiedMs: Math.max(...shards.map(({ modifiedMs }) => modifiedMs)),
    };
  });
}

/** `publisher/model/file.gguf`. Files that lie elsewhere go by their own names. */
export function lmStudioModels(folder: string): LocalModel[] {
  return plainModels("lm-studio", walk(folder, 4), (file) => {
    const parts = file.split("/");
    const quant = tagOf(file);
    return parts.length < 3 ? { repo: stemOf(file), tag: "" } : { repo: parts.slice(0, 2).join("/"), tag: quant };
  });
}

export function flatModels(place: PlaceKind, folder: string): LocalModel[] {
  const files = walk(folder, 0);
  return plainModels(place, files, (file) => ({ repo: stemOf(file), tag: "" }));
}

/** Its `model.yml` names the file, which may lie elsewhere: Jan imports models where they are. */
export function janModels(folder: string): LocalModel[] {
  const files = walk(folder, 4);
  // `model_path` is relative to Jan's data folder, two levels up.
  const data = dirname(dirname(folder));
  const described = files.flatMap(({ file, path, modifiedMs }): LocalModel[] => {
    if (!file.endsWith("/model.yml")) return [];
    const named = yamlText(path, "model_path");
    const model = named === undefined ? undefined : isAbsolute(named) ? named : join(data, named);
    const stats = model === undefined ? undefined : fileStats(model);
    if (model === undefined || stats === undefined) return [];
    const repo = file.slice(0, -"/model.yml".length);
    const files = [{ path: model, bytes: stats.size }];
    return [{ repo, tag: "", aliases: [], place: "jan", path: model, files, bytes: stats.size, modifiedMs }];
  });
  const known = new Set(described.map(({ path }) => path));
  const plain = plainModels("jan", files, (file) => {
    const inside = dirname(file);
    return { repo: inside === "." ? stemOf(file) : inside, tag: "" };
  });
  return [...described, ...plain.filter(({ path }) => !known.has(path))];
}

/** More than any such file has. */
const maxYaml = 1 << 16;

/** A text of the outermost level of a YAML file, which is all that is needed of it. */
function yamlText(path: string, key: string): string | undefined {
  const text = readSmall(path, maxYaml);
  const line = text?.split(/\r?\n/).find((each) => each.startsWith(`${key}:`));
  const value = line?.slice(key.length + 1).trim();
  if (value === undefined || value === "") return undefined;
  const [, quoted] = /^"(.*)"$/.exec(value) ?? /^'(.*)'$/.exec(value) ?? [];
  return quoted ?? value;
}

/** Undefined when the file is larger, or cannot be read. */
export function readSmall(path: string, most: number): string | undefined {
  try {
    const fd = openRegularSync(path);
    try {
      const bytes = Buffer.alloc(most + 1);
      let got = 0;
      for (let n = 1; n > 0 && got <= most; got += n) n = readSync(fd, bytes, got, bytes.length - got, got);
      return got > most ? undefined : bytes.toString("utf8", 0, got);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
