/** Fetches a model into the store: what it is, what it would do here, then its files, then its record. */
import { mkdirSync, statfsSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import { HundredweightError } from "../../errors.js";
import { fileByHash, localModels } from "../local/local-models.js";
import { modelPlaces, ownFolder, type Surroundings, thisSystem } from "../local/places.js";
import { stemOf } from "../local/quant-names.js";
import { firstFile, type ModelRecord, recordPath, workPath, writeRecord } from "../local/records.js";
import type { LocalModel } from "../local/types.js";
import { download } from "./download.js";
import { hasHash } from "./hash-file.js";
import type { Patience } from "./persist.js";
import { preview } from "./preview.js";
import type { Preview } from "./preview-types.js";
import type { RemoteFile } from "./remote-file.js";
import { findRemote, type RemoteModel } from "./source.js";

export interface PullOptions {
  readonly signal: AbortSignal;
  readonly system?: Surroundings;
  readonly patience?: Partial<Patience>;
  readonly connections?: number | undefined;
  readonly partBytes?: number | undefined;
  /** Another name for it, checked. */
  readonly alias?: string | undefined;
  /** The hash of the file at a plain address. */
  readonly sha256?: string | undefined;
  /** For the plan. */
  readonly memoryBytes?: number | undefined;
  /** For the plan: memory that is taken now and will be free then. */
  readonly heldBytes?: number | undefined;
  /** Nothing is fetched but headers. */
  readonly onlyPlan?: boolean | undefined;
  /** No header is read before. */
  readonly noPlan?: boolean | undefined;
  /** Before the first byte of a file. */
  readonly onPlan?: (model: RemoteModel, plans: readonly Preview[]) => void;
  readonly onProgress?: (progress: PullProgress) => void;
  readonly onNote?: (note: string) => void;
}

export interface PullProgress {
  /** The file that is under way. */
  readonly file: RemoteFile;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface Pulled {
  readonly repo: string;
  readonly tag: string;
  /** The word for `run`. */
  readonly path: string;
  readonly bytes: number;
  /** Bytes of files that lay on this computer already. */
  readonly foundBytes: number;
  readonly commit?: string;
}

/** The file system is left so much. */
const spareBytes = 256 * 2 ** 20;
/** Other quantizations whose plans are shown beside one that is streamed. */
const mostOthers = 2;

/**
 * @param word as `findRemote` takes it
 * @returns undefined when only the plan was asked for
 * @throws what `findRemote` and `download` throw; DISK_FULL before anything is fetched
 */
export async function pull(word: string, options: PullOptions): Promise<Pulled | undefined> {
  const { signal, system = thisSystem(), patience } = options;
  const store = ownFolder(system);
  const model = await findRemote(word, { signal, system, sha256: options.sha256 });
  if (options.noPlan !== true || options.onlyPlan === true)
    options.onPlan?.(
      model,
      await plansFor(model, {
        ...{ signal, folder: store, memoryBytes: options.memoryBytes, heldBytes: options.heldBytes },
        ...(patience && { patience }),
      }),
    );
  if (options.onlyPlan === true) return undefined;

  const folder = join(store, ...model.inside.split("/"));
  mkdirSync(folder, { recursive: true });
  const here = localModels(modelPlaces(system));
  const found = new Map<RemoteFile, string>();
  for (const file of model.files) {
    const path = await alreadyHere(file, folder, here, options);
    if (path !== undefined) found.set(file, path);
  }
  // A model lies in one place: of one that is partly elsewhere all is fetched.
  const own = (path: string): boolean => path.startsWith(`${folder}${sep}`);
  const elsewhere = model.files.every((file) => found.has(file)) || [...found.values()].every(own);
  if (!elsewhere) for (const [file, path] of found) if (!own(path)) found.delete(file);
  checkSpace(folder, model, found);

  let before = 0;
  const files: ModelRecord["files"][number][] = [];
  for (const file of model.files) {
    const path = found.get(file);
    if (path === undefined) {
      const done = before;
      await download(file, folder, {
        ...patience,
        ...{ signal, connections: options.connections, partBytes: options.partBytes, onNote: options.onNote },
        onProgress: (bytes) => options.onProgress?.({ file, doneBytes: done + bytes, totalBytes: model.bytes }),
      });
    }
    before += file.bytes;
    const { bytes, sha256 } = file;
    const kept = path === undefined || own(path) ? file.file : path;
    files.push({ file: kept, bytes, ...(sha256 !== undefined && { sha256 }) });
  }
  const { repo, tag, source, commit } = model;
  const record: ModelRecord = {
    ...{ version: 1, repo, tag, aliases: options.alias === undefined ? [] : [options.alias], files },
    ...(model.folder && { folder: true }),
    source,
    ...(commit !== undefined && { commit }),
    fetchedAt: new Date().toISOString(),
  };
  const name = model.folder ? "folder" : stemOf(model.files[0]!.file);
  writeRecord(recordPath({ folder: store, inside: model.inside }, name), record);
  const first = firstFile(files);
  const path = model.folder
    ? folder
    : (found.get(model.files[files.indexOf(first)]!) ?? join(folder, ...first.file.split("/")));
  const foundBytes = [...found.keys()].reduce((sum, { bytes }) => sum + bytes, 0);
  return { repo, tag, path, bytes: model.bytes, foundBytes, ...(commit !== undefined && { commit }) };
}

/** The chosen model's plan, and of one that is streamed those of the next smaller ones beside it. */
async function plansFor(model: RemoteModel, options: Parameters<typeof preview>[1]): Promise<Preview[]> {
  const plans = [await preview(model, options)];
  const [own] = plans as [Preview];
  if (own.fault !== undefined || own.strategy === "resident") return plans;
  const smaller = model.others.filter(({ bytes }) => bytes < model.bytes).sort((a, b) => b.bytes - a.bytes);
  for (const other of smaller.slice(0, mostOthers)) plans.push(await preview(other, options));
  return plans;
}

/** The path of a file of the same bytes, which were read to be sure. */
async function alreadyHere(
  file: RemoteFile,
  folder: string,
  here: readonly LocalModel[],
  { signal, onNote }: PullOptions,
): Promise<string | undefined> {
  const { sha256, bytes } = file;
  const own = join(folder, ...file.file.split("/"));
  const candidates = [own, ...(sha256 === undefined ? [] : [fileByHash(sha256, here)])];
  for (const path of new Set(candidates)) {
    if (path === undefined || statSync(path, { throwIfNoEntry: false })?.size !== bytes) continue;
    if (sha256 === undefined && file.gitSha1 === undefined) continue;
    if (bytes > 2 ** 28) onNote?.(`${file.file}: a file of this size is at ${path}, its hash is looked at`);
    if (await hasHash(path, file, signal)) return path;
  }
  return undefined;
}

/** Bytes of a part-file that the disk holds already. */
function alreadyThere(folder: string, { file, bytes }: RemoteFile): number {
  const part = statSync(`${workPath(folder, file)}.part`, { throwIfNoEntry: false });
  return part === undefined ? 0 : Math.min(bytes, part.blocks * 512);
}

/** @throws DISK_FULL */
function checkSpace(folder: string, model: RemoteModel, found: ReadonlyMap<RemoteFile, string>): void {
  let missing = 0;
  for (const file of model.files) if (!found.has(file)) missing += file.bytes - alreadyThere(folder, file);
  if (missing === 0) return;
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= missing + spareBytes) return;
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  throw new HundredweightError(
    "DISK_FULL",
    `${folder}: ${gib(missing)} are to be fetched and ${gib(free)} are free; make room, or keep models elsewhere ` +
      "(HUNDREDWEIGHT_MODELS)",
    { neededBytes: missing + spareBytes, freeBytes: free },
  );
}
