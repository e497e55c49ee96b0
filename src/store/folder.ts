/**
 * Models of a folder or of this computer, by ids. Headers are read in a worker, with a deadline: the server goes on
 * whatever they hold.
 */
import { Worker } from "node:worker_threads";
import type { EngineOptions } from "../engine/options.js";
import { HundredweightError } from "../errors.js";
import { programUrl } from "../process/programs.js";
import type { WireError } from "../process/wire.js";
import { fromWire } from "../process/wire.js";
import type { Found, FoundFile, ModelFacts } from "./folder-work.js";
import type { FolderQuestion } from "./folder-worker.js";
import type { FolderListing, FolderModel, PlanReport } from "./listing.js";
import type { PullPlan } from "./pull/preview-types.js";

const deadlineMs = 60_000;
/** A name is looked for in what was listed so long ago: clients send names of no model with every request. */
const staleMs = 5000;
const heapMb = 1024;

export class ModelFolder {
  readonly #folder: string | undefined;
  /** Facts from headers, by path, size and time of the file. */
  #facts = new Map<string, ModelFacts>();
  #listing: Promise<FolderListing> | undefined;
  #files: readonly FoundFile[] = [];
  #listed: { readonly models: readonly FolderModel[]; readonly at: number } | undefined;

  /** @param folder none: all models of this computer, whichever program keeps them */
  constructor(folder?: string) {
    this.#folder = folder;
  }

  /** @param loaded path of the model in use */
  async list(loaded: string): Promise<FolderListing> {
    // Whoever asks while a listing is being made gets the same.
    this.#listing ??= this.#read().finally(() => {
      this.#listing = undefined;
    });
    const { models, ...listing } = await this.#listing;
    const id = this.#files.find((file) => file.path === loaded)?.id;
    return { ...listing, models: models.map((model) => ({ ...model, loaded: model.id === id })) };
  }

  /** Looks what is there, without reading a header: names are known then. @throws FILE_NOT_FOUND, FILE_IO */
  async learn(): Promise<void> {
    this.#files = (await this.#find()).files;
  }

  /** The name under which a path is listed; undefined before anything was, and for others. */
  nameOf(path: string): string | undefined {
    const file = this.#files.find((each) => each.path === path)?.file;
    return file === undefined ? undefined : listedName(file);
  }

  /** The model that a client names as it is listed, with or without Ollama's tag for the newest. */
  async named(word: string): Promise<(FolderModel & { readonly path: string }) | undefined> {
    const fresh = this.#listed !== undefined && performance.now() - this.#listed.at < staleMs;
    const models = fresh ? this.#listed!.models : (await this.list("")).models;
    const same = (name: string): boolean => name.toLowerCase() === word.toLowerCase();
    const found =
      models.find(({ file }) => same(file) || same(listedName(file)) || same(`${listedName(file)}:latest`)) ??
      models.find(({ file }) => same(file.replace(/:latest$/, "")));
    const path = this.#files.find(({ id }) => id === found?.id)?.path;
    return found === undefined || path === undefined ? undefined : { ...found, path };
  }

  /** Another model is there: the next name is looked for anew. */
  forget(): void {
    this.#listed = undefined;
  }

  /** @throws FILE_NOT_FOUND when the folder holds no such model */
  async path(id: string): Promise<string> {
    const known = () => this.#files.find((file) => file.id === id)?.path;
    if (known() === undefined) await this.list("");
    const path = known();
    if (path === undefined) throw new HundredweightError("FILE_NOT_FOUND", "there is no such model");
    return path;
  }

  /** @param heldBytes what the model in use would give back */
  async plan(id: string, options: EngineOptions, heldBytes: number): Promise<PlanReport> {
    return planModel(await this.path(id), options, heldBytes);
  }

  #find(): Promise<Found> {
    return ask<Found>(this.#folder === undefined ? { kind: "local" } : { kind: "find", folder: this.#folder });
  }

  async #read(): Promise<FolderListing> {
    const { files, cut } = await this.#find();
    const nameOf = (file: FoundFile) => `${file.path} ${file.bytes} ${file.modifiedAt}`;
    const fresh = files.filter((file) => !this.#facts.has(nameOf(file)));
    const facts = fresh.length === 0 ? [] : await ask<ModelFacts[]>({ kind: "facts", paths: fresh.map((f) => f.path) });
    const read = new Map(fresh.map((file, i) => [nameOf(file), facts[i]!]));
    // Of files that are gone nothing is kept.
    this.#facts = new Map(
      files.map((file) => [nameOf(file), read.get(nameOf(file)) ?? this.#facts.get(nameOf(file))!]),
    );
    this.#files = files;
    const models = files.map((file): FolderModel => {
      const { path: _, ...shown } = file;
      return { ...shown, ...this.#facts.get(nameOf(file)), loaded: false };
    });
    this.#listed = { models, at: performance.now() };
    return { folder: this.#folder ?? "this computer", models, cut };
  }
}

/** The plan of a model file. @param heldBytes what the model in use would give back */
export function planModel(path: string, options: EngineOptions, heldBytes: number): Promise<PlanReport> {
  return ask<PlanReport>({ kind: "plan", path, options, heldBytes });
}

/**
 * The plan of a model that a hub has.
 * @throws HUB_REFUSED, NETWORK_FAILED, OPTION_INVALID; FILE_IO after the deadline
 */
export function planPull(word: string, { memoryBytes }: EngineOptions, heldBytes: number): Promise<PullPlan> {
  return ask<PullPlan>({ kind: "preview", word, heldBytes, ...(memoryBytes !== undefined && { memoryBytes }) });
}

/** A file's name in a list of names: without its ending, of a split model without its number. */
export const listedName = (file: string): string => file.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");

/** @throws what the worker throws; FILE_IO after the deadline, or when the worker dies */
function ask<T>(question: FolderQuestion): Promise<T> {
  const worker = spawn(question);
  return new Promise<T>((resolve, reject) => {
    const fail = (why: string) => reject(new HundredweightError("FILE_IO", `reading model files: ${why}`));
    const timer = setTimeout(() => fail(`no answer within ${deadlineMs / 1000} s`), deadlineMs);
    worker.once("message", ({ result, error }: { result?: T; error?: WireError }) => {
      clearTimeout(timer);
      if (error === undefined) resolve(result as T);
      else reject(fromWire(error));
    });
    worker.once("error", (error) => fail(error.message));
    worker.once("exit", () => {
      clearTimeout(timer);
      fail("the worker ended");
    });
  }).finally(() => worker.terminate());
}

function spawn(question: FolderQuestion): Worker {
  const options = { workerData: question, resourceLimits: { maxOldGenerationSizeMb: heapMb } };
  const url = programUrl("store/folder-worker");
  if (url.href.endsWith(".js")) return new Worker(url, options);
  // TypeScript sources run directly (tests): the loader that runs them here is asked to run them there too.
  const source = JSON.stringify(url.href);
  const program = `import("tsx/esm/api").then((m) => m.tsImport(${source}, ${source}))`;
  return new Worker(program, { ...options, eval: true });
}
