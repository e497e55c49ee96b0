/**
 * The folder that `pull` writes to: `org/name/file.gguf`, plain files that anybody may read. What is known of them
 * (commit, hashes, other names) stands in a record for each model, `org/name/.hundredweight/<file>.json`; files without
 * a record are models too. A record may also name files of another program, so that nothing is fetched twice.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { replaceFileSync } from "../../replace-file.js";
import { isCompanion, stemOf, tagOf } from "./quant-names.js";
import { plainModels, readSmall } from "./scan-files.js";
import type { LocalFile, LocalModel } from "./types.js";
import { entriesOf, fileStats, foldersOf, walk } from "./walk.js";

/** Beside the files of a repository: records, and what is being fetched. */
export const workName = ".hundredweight";
const maxRecord = 4 << 20;

/** Begins the names of what stands beside a file of a repository while it is fetched. @param folder the repository's */
export const workPath = (folder: string, file: string): string => join(folder, workName, file.replaceAll("/", "%"));

/** The file that names a model: the first that is one by itself. */
export const firstFile = <T extends { readonly file: string }>(files: readonly T[]): T =>
  files.find(({ file }) => !isCompanion(file)) ?? files[0]!;

export interface ModelRecord {
  readonly version: 1;
  readonly repo: string;
  readonly tag: string;
  readonly aliases: readonly string[];
  /** Relative to the repository's folder with slashes, or absolute where another program keeps the file. */
  readonly files: readonly { readonly file: string; readonly bytes: number; readonly sha256?: string }[];
  /** The model is the folder, not its first file. */
  readonly folder?: boolean;
  /** Where it came from, for people. */
  readonly source: string;
  readonly commit?: string;
  /** ISO 8601. */
  readonly fetchedAt: string;
}

/** The names of a repository's folder below the store's: `Qwen/Qwen3-8B-GGUF`. */
export interface RecordPlace {
  /** The store. */
  readonly folder: string;
  /** Two parts. */
  readonly inside: string;
}

export const recordPath = ({ folder, inside }: RecordPlace, name: string): string =>
  join(folder, ...inside.split("/"), workName, `${name}.json`);

/** Written whole or not at all. */
export function writeRecord(path: string, record: ModelRecord): void {
  mkdirSync(join(path, ".."), { recursive: true });
  const beside = `${path}.${process.pid}.new`;
  try {
    writeFileSync(beside, `${JSON.stringify(record, undefined, 1)}\n`);
    replaceFileSync(beside, path);
  } finally {
    rmSync(beside, { force: true });
  }
}

/** Undefined for what is no record of ours. */
export function readRecord(path: string): ModelRecord | undefined {
  let found: unknown;
  try {
    found = JSON.parse(readSmall(path, maxRecord) ?? "");
  } catch {
    return undefined;
  }
  const record = found as Partial<ModelRecord> | null;
  const texts = (list: unknown): boolean => Array.isArray(list) && list.every((each) => typeof each === "string");
  const sound =
    record?.version === 1 &&
    [record.repo, record.tag, record.source, record.fetchedAt].every((each) => typeof each === "string") &&
    texts(record.aliases) &&
    Array.isArray(record.files) &&
    record.files.length > 0 &&
    record.files.every((each) => typeof each?.file === "string" && Number.isSafeInteger(each.bytes));
  return sound ? (record as ModelRecord) : undefined;
}

export interface OwnModel extends LocalModel {
  readonly recordPath?: string;
  readonly record?: ModelRecord;
}

export function ownModels(folder: string): OwnModel[] {
  return foldersOf(folder).flatMap((org) =>
    foldersOf(join(folder, org)).flatMap((name) => repositoryModels(folder, `${org}/${name}`)),
  );
}

function repositoryModels(folder: string, inside: string): OwnModel[] {
  const base = join(folder, ...inside.split("/"));
  const recorded = entriesOf(join(base, workName)).flatMap(({ name }): OwnModel[] => {
    if (!name.endsWith(".json")) return [];
    const path = join(base, workName, name);
    const record = readRecord(path);
    const model = record === undefined ? undefined : recordedModel(base, record);
    return model === undefined ? [] : [{ ...model, recordPath: path, record: record! }];
  });
  const known = new Set(recorded.flatMap(({ files }) => files.map(({ path }) => path)));
  const others = plainModels("hundredweight", walk(base, 3), (file) => ({
    repo: inside,
    tag: tagOf(file),
  }));
  return [...recorded, ...others.filter(({ path }) => !known.has(path))];
}

/** Undefined while a file of it is missing, or is another by its size. */
function recordedModel(base: string, record: ModelRecord): LocalModel | undefined {
  const { repo, tag, folder } = record;
  const files: LocalFile[] = [];
  let modifiedMs = 0;
  for (const { file, bytes, sha256 } of record.files) {
    const path = isAbsolute(file) ? file : join(base, ...file.split("/"));
    const stats = fileStats(path);
    if (stats?.size !== bytes) return undefined;
    modifiedMs = Math.max(modifiedMs, stats.mtimeMs);
    files.push({ path, bytes, ...(sha256 !== undefined && { sha256 }) });
  }
  const first = firstFile(record.files);
  const bytes = files.reduce((sum, each) => sum + each.bytes, 0);
  const path = folder === true ? base : files[record.files.indexOf(first)]!.path;
  const aliases = folder === true ? record.aliases : [...record.aliases, stemOf(first.file)];
  return { repo, tag, aliases, place: "hundredweight", path, files, bytes, modifiedMs };
}
