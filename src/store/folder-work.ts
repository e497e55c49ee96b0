/** The work of the folder worker: finds model files, reads their headers, plans one. Files may be anybody's. */
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join, relative, resolve, sep } from "node:path";
import { openCheckpoint, weightNames } from "../containers/index.js";
import type { EngineOptions } from "../engine/options.js";
import { planOptions, planResources } from "../engine/resources.js";
import { asHundredweightError, HundredweightError } from "../errors.js";
import { fileTypeName } from "../formats/index.js";
import type { Checkpoint } from "../formats/types.js";
import { describeModel } from "../models/index.js";
import { advise } from "../weights/plan-advice.js";
import { knownMachine } from "../weights/probe.js";
import type { FolderModel, PlanReport } from "./listing.js";
import { localModels } from "./local/local-models.js";
import { type LocalModel, nameOf } from "./local/types.js";
import type { PullPlan } from "./pull/preview-types.js";
import { pull } from "./pull/pull.js";

export interface FoundFile {
  readonly id: string;
  readonly path: string;
  /** Relative to the folder, with slashes; of a model of this computer its name. */
  readonly file: string;
  readonly bytes: number;
  readonly shards: number;
  readonly modifiedAt: string;
}

/** Facts from a header; `loaded` and the file's own facts are added by the server. */
export type ModelFacts = Omit<FolderModel, keyof FoundFile | "loaded">;

export interface Found {
  readonly files: readonly FoundFile[];
  readonly cut: boolean;
}

const mostDepth = 4;
const maxEntries = 20_000;
const maxFiles = 500;
const shardName = /-(\d{5})-of-(\d{5})(\.gguf)$/i;

const idOf = (file: string): string => createHash("sha256").update(file).digest("base64url").slice(0, 16);

/** A folder as one model, where it holds a configuration and weights. @param names of its files */
async function folderModel(at: string, file: string, names: readonly string[]): Promise<FoundFile | undefined> {
  const weights = weightNames(names);
  if (weights.length === 0) return undefined;
  const infos = await Promise.all(weights.map((name) => stat(join(at, name)).catch(() => undefined)));
  const there = infos.flatMap((info) => (info?.isFile() === true ? [info] : []));
  if (there.length < weights.length) return undefined;
  const modifiedAt = new Date(Math.max(...there.map(({ mtimeMs }) => mtimeMs))).toISOString();
  const bytes = there.reduce((sum, { size }) => sum + size, 0);
  return { id: idOf(file), path: at, file, bytes, shards: there.length, modifiedAt };
}

/**
 * GGUF files below a folder, of a split model the first, and folders that are models by themselves; folders that are
 * links are not entered.
 */
export async function findModels(folder: string): Promise<Found> {
  const files: FoundFile[] = [];
  const later = new Map<string, number>();
  let entries = 0;
  let cut = false;
  const slashed = (path: string) => relative(folder, path).split(sep).join("/");
  const visit = async (inside: string, depth: number): Promise<void> => {
    const found = await readdir(inside, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (depth > 0) return []; // not ours to read
      const code = error.code === "ENOENT" ? "FILE_NOT_FOUND" : "FILE_IO";
      throw new HundredweightError(code, `${folder}: ${error.message}`);
    });
    const own = found.flatMap((entry) => (entry.isDirectory() ? [] : [entry.name]));
    const whole = await folderModel(inside, slashed(inside) || basename(resolve(folder)), own);
    if (whole !== undefined) files.push(whole);
    for (const entry of found.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (++entries > maxEntries || files.length >= maxFiles) {
        cut = true;
        return;
      }
      const path = join(inside, entry.name);
      if (entry.isDirectory()) {
        if (depth < mostDepth && !entry.name.startsWith(".")) await visit(path, depth + 1);
        continue;
      }
      if (!/\.gguf$/i.test(entry.name) || !(entry.isFile() || entry.isSymbolicLink())) continue;
      const info = await stat(path).catch(() => undefined);
      if (info?.isFile() !== true) continue;
      const [, number, count, ending] = shardName.exec(entry.name) ?? [];
      if (number !== undefined && Number(number) !== 1) {
        const first = path.replace(shardName, `-00001-of-${count}${ending}`);
        later.set(first, (later.get(first) ?? 0) + info.size);
        continue;
      }
      const file = slashed(path);
      files.push({
        id: idOf(file),
        path,
        file,
        bytes: info.size,
        shards: count === undefined ? 1 : Number(count),
        modifiedAt: info.mtime.toISOString(),
      });
    }
  };
  await visit(folder, 0);
  return { files: files.map((file) => ({ ...file, bytes: file.bytes + (later.get(file.path) ?? 0) })), cut };
}

/** The models of this computer, under the names by which every command takes them. */
export function findLocalModels(models: readonly LocalModel[] = localModels()): Found {
  const files = models.slice(0, maxFiles).map((model): FoundFile => {
    const file = nameOf(model);
    const { path, bytes } = model;
    const id = createHash("sha256").update(`${file}\n${path}`).digest("base64url").slice(0, 16);
    return { id, path, file, bytes, shards: model.files.length, modifiedAt: new Date(model.modifiedMs).toISOString() };
  });
  return { files, cut: models.length > maxFiles };
}

/** Reads the facts of a header, or why the model cannot be run. Never throws for what is in the file. */
export async function readFacts(path: string): Promise<ModelFacts> {
  let checkpoint: Checkpoint;
  try {
    checkpoint = await openCheckpoint(path);
  } catch (error) {
    return { fault: faultOf(error) };
  }
  let parameters = 0;
  for (const { shape } of checkpoint.tensors.values()) parameters += shape.reduce((product, size) => product * size, 1);
  const { metadata } = checkpoint;
  const text = (key: string) => {
    const value = metadata.get(key);
    return typeof value === "string" && value !== "" ? value.slice(0, 200) : undefined;
  };
  const name = text("general.name");
  const architecture = text("general.architecture");
  const fileType = metadata.get("general.file_type");
  const mix = typeof fileType === "number" ? fileTypeName(fileType) : undefined;
  const facts = {
    parameters,
    ...(name !== undefined && { name }),
    ...(architecture !== undefined && { architecture }),
    ...(mix !== undefined && { fileType: mix }),
  };
  try {
    return { ...facts, contextTokens: describeModel(checkpoint).config.contextTokens };
  } catch (error) {
    return { ...facts, fault: faultOf(error) };
  }
}

/**
 * The plan the engine would make.
 * @param heldBytes memory that is taken now and free then
 * @throws what opening and describing a model throws
 */
export async function planFile(path: string, options: EngineOptions, heldBytes: number): Promise<PlanReport> {
  const description = describeModel(await openCheckpoint(path));
  const { threads } = options;
  const { profile } = knownMachine({ path, ...(threads !== undefined && { threads }) });
  const asked = {
    ...options,
    textProcess: true,
    memoryBytes: options.memoryBytes ?? profile.availableBytes + heldBytes,
  };
  try {
    const { residency, plan } = planResources(description, asked, path);
    const { budgetBytes, plan: summary } = residency;
    if (plan === undefined || summary === undefined) return { budgetBytes, advice: [] };
    return { budgetBytes, advice: advise(description, profile, planOptions(asked), plan), plan: summary };
  } catch (error) {
    if (!(error instanceof HundredweightError) || error.code !== "MEMORY_BUDGET") throw error;
    const { budgetBytes, minimumBudgetBytes } = error.details as { budgetBytes: number; minimumBudgetBytes?: number };
    return {
      budgetBytes,
      advice: [error.message],
      ...(Number.isFinite(minimumBudgetBytes) && { minimumBudgetBytes: minimumBudgetBytes! }),
    };
  }
}

/** The plan of a model that a hub has, by its header. Whoever asks ends the worker when it takes too long. */
export async function planRemote(
  word: string,
  budget: { readonly memoryBytes?: number; readonly heldBytes: number },
): Promise<PullPlan> {
  let found: PullPlan | undefined;
  await pull(word, {
    signal: new AbortController().signal,
    onlyPlan: true,
    ...budget,
    onPlan: (model, plans) => {
      found = { name: nameOf(model), bytes: model.bytes, files: model.files.length, plans };
    },
  });
  return found!;
}

function faultOf(error: unknown): { readonly code: string; readonly message: string } {
  const { code, message } = asHundredweightError(error);
  return { code, message: message.slice(0, 2000) };
}
