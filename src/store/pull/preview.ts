/**
 * The plan of a model that has not been fetched: its header is read from the hub, a few megabytes, into a file of the
 * model's size that holds nothing else, and planned as if it lay here.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openCheckpoint } from "../../containers/index.js";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { readGgufFile } from "../../formats/index.js";
import { describeModel } from "../../models/index.js";
import { Planner } from "../../weights/plan.js";
import { knownMachine, type ProbedMachine } from "../../weights/probe.js";
import { type Patience, Progressed, persist, usualPatience } from "./persist.js";
import type { Preview } from "./preview-types.js";
import { cutOff, readRange } from "./read-range.js";
import { RangeReader, type RemoteFile } from "./remote-file.js";
import type { RemoteModel } from "./source.js";
import { writeAll } from "./write-all.js";

const firstBytes = 2 ** 20;
/** More than any header has; metadata may take 128 MiB once read. */
const mostBytes = 160 * 2 ** 20;

export interface PreviewOptions {
  readonly signal: AbortSignal;
  readonly patience?: Partial<Patience>;
  /** Where the model would lie. */
  readonly folder: string;
  readonly memoryBytes?: number | undefined;
  /** Memory that is taken now and will be free then. */
  readonly heldBytes?: number | undefined;
}

/** @throws CANCELLED; faults of the network, which a download would meet too */
export async function preview(
  model: Pick<RemoteModel, "tag" | "bytes" | "files"> & { readonly folder?: boolean },
  { signal, patience, folder, memoryBytes, heldBytes = 0 }: PreviewOptions,
): Promise<Preview> {
  const work = mkdtempSync(join(tmpdir(), "hundredweight-header-"));
  const known = knownMachine({ path: nearest(folder) });
  const budgetBytes = memoryBytes ?? known.profile.availableBytes + heldBytes;
  const { tag, bytes } = model;
  const guessed = known.disk === undefined || known.cpu === undefined;
  const said = { tag, bytes, budgetBytes, guessed };
  try {
    let path: string | undefined;
    for (const file of model.files) {
      const made = await fetchHeader(file, work, { ...usualPatience, ...patience }, signal);
      path ??= made;
    }
    return { ...said, ...(await planned(model.folder === true ? work : path!, known, budgetBytes)) };
  } catch (error) {
    const { code, message } = asHundredweightError(error);
    if (["CANCELLED", "NETWORK_FAILED", "HUB_REFUSED"].includes(code)) throw error;
    return { ...said, fault: { code, message: message.replaceAll(`${work}/`, "") } };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function planned(path: string, { profile }: ProbedMachine, budgetBytes: number): Promise<Partial<Preview>> {
  const description = describeModel(await openCheckpoint(path));
  const planner = new Planner(description, profile, { textProcess: true });
  const plan = planner.tryPlan(budgetBytes);
  const minimumBudgetBytes = planner.minimumBudgetBytes();
  if (plan === undefined) return { minimumBudgetBytes };
  return {
    strategy: plan.strategy,
    secondsPerToken: plan.prediction.secondsPerToken,
    contextTokens: plan.contextTokens,
    minimumBudgetBytes,
    wholeFromBytes: planner.residentBudgetBytes(plan.contextTokens),
  };
}

/** The header of a file at its place below `work`; behind it nothing. */
async function fetchHeader(remote: RemoteFile, work: string, patience: Patience, signal: AbortSignal): Promise<string> {
  const path = join(work, ...remote.file.split("/"));
  mkdirSync(dirname(path), { recursive: true });
  const reader = new RangeReader(remote);
  const file = await open(path, "w");
  try {
    await file.truncate(remote.bytes);
    let have = 0;
    for (let most = firstBytes; ; most *= 2) {
      const to = Math.min(most, remote.bytes, mostBytes);
      have = await fetchTo(reader, file, have, to, patience, signal);
      const need = neededBytes(path, remote.bytes);
      if (have >= Math.min(need, remote.bytes)) return path;
      if (have >= mostBytes)
        throw new HundredweightError("FORMAT_INVALID", `${remote.file}: its header is longer than ${mostBytes} bytes`);
    }
  } finally {
    await file.close();
  }
}

async function fetchTo(
  reader: RangeReader,
  file: FileHandle,
  from: number,
  to: number,
  { stallMs, ...patience }: Patience,
  signal: AbortSignal,
): Promise<number> {
  let at = from;
  const use = async (bytes: Uint8Array): Promise<void> => {
    await writeAll(file, bytes, at);
    at += bytes.length;
  };
  const attempt = async (): Promise<void> => {
    const before = at;
    try {
      await readRange(reader, { from: at, to, stallMs, signal, check: () => {}, use });
      if (at < to) throw cutOff(reader);
    } catch (error) {
      throw at > before ? new Progressed(error) : error;
    }
  };
  if (at < to) await persist(attempt, { stallMs, ...patience }, signal);
  return at;
}

/** How much of a file a plan needs: headers of weights, all of the small files beside them. */
function neededBytes(path: string, bytes: number): number {
  if (/\.gguf$/i.test(path)) return headerBytes(path);
  if (!/\.safetensors$/i.test(path)) return bytes;
  // Eight bytes say how long the header behind them is.
  const fd = openSync(path, "r");
  try {
    const length = Buffer.alloc(8);
    readSync(fd, length, 0, 8, 0);
    return 8 + Number(length.readBigUInt64LE());
  } finally {
    closeSync(fd);
  }
}

/** Where the header ends by what is there of it; Infinity: not to be read yet. */
function headerBytes(path: string): number {
  try {
    return readGgufFile(path).dataStart;
  } catch (error) {
    // What is no GGUF file does not become one.
    if (asHundredweightError(error).code === "FORMAT_UNKNOWN") throw error;
    return Number.POSITIVE_INFINITY;
  }
}

/** The store's folder may not be there yet. */
function nearest(folder: string): string {
  try {
    mkdirSync(folder, { recursive: true });
    return folder;
  } catch {
    return tmpdir();
  }
}
