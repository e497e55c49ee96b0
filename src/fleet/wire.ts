/**
 * Reads and names what lies in Redis: bundles of lines with what they are to be answered with, answers, and who takes
 * part. Whoever may write there may write anything, so all of it is looked at before it is used.
 */
import { createHash } from "node:crypto";
import type { LineAnswer } from "../batch/line-answer.js";
import { isObject } from "../json-object.js";
import { prefix } from "./redis.js";

/** Bundles of another version are refused. */
export const wireVersion = 1;

/** Hash of batches by id, hash of machines by id. */
export const runsKey = `${prefix}:runs`;
export const machinesKey = `${prefix}:machines`;
export const ownerKey = (run: string): string => `${prefix}:owner:${run}`;

/** A model with all that an answer depends on, beside the line. Two that are equal answer token for token alike. */
export interface ModelMark {
  /** For people. */
  readonly model: string;
  /** Hash of the model's files, and of adapters with their scales. */
  readonly files: string;
  readonly adapters: string;
  readonly kv: string;
  /** The way of answers that fill their context. */
  readonly full: string;
  readonly version: string;
}

/** Parts that have to be equal, in words. */
const parts = [
  ["files", "another model"],
  ["adapters", "other adapters (--lora)"],
  ["kv", "another type of the KV cache (--kv)"],
  ["full", "another way of answers that fill their context (--when-full, --keep, --discard)"],
  ["version", "another version of hundredweight"],
] as const;

/** Why two do not answer alike; undefined: they do. */
export function difference(wanted: ModelMark, here: ModelMark): string | undefined {
  const part = parts.find(([key]) => wanted[key] !== here[key]);
  if (part === undefined) return undefined;
  const [key, words] = part;
  const side = (mark: ModelMark): string => (key === "files" ? `${mark.model} (${mark.files})` : mark[key]);
  return `${words}: ${side(wanted)} is asked for, here is ${side(here)}`;
}

/** The name of the queue that all who answer alike share. */
export function queueOf({ files, adapters, kv, full, version }: ModelMark, contextTokens: number): string {
  const facts = [wireVersion, files, adapters, kv, full, version, contextTokens];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 24);
}

/** A batch that is submitted. */
export interface RunRecord {
  readonly v: number;
  readonly id: string;
  readonly queue: string;
  readonly mark: ModelMark;
  readonly contextTokens: number;
  /** The longest and the usual line, with which a machine plans. */
  readonly typicalTokens: number;
  readonly longestTokens: number;
  readonly priority: number;
  readonly host: string;
  /** Seconds by Redis's clock: when the submitting command was last there. */
  readonly at: number;
  readonly cancelled?: true;
  /** When machines were last asked for lines they have not begun, since others have none. */
  readonly asked?: number;
}

export interface MachineRecord {
  readonly v: number;
  readonly id: string;
  readonly host: string;
  readonly queue: string;
  /** Lines at a time. */
  readonly lanes: number;
  /** Since it began: tokens made, positions of lines that are done, and milliseconds it had lines. */
  readonly tokens: number;
  readonly cost: number;
  readonly busyMs: number;
  /** Lines that it has, and that its engine has not come to. */
  readonly ahead?: number;
  /** More lines that it would begin at once. */
  readonly free?: number;
  readonly at: number;
}

/** Machines that have said nothing for so long are not counted. */
export const machineSeconds = 15;

export interface BundleLine {
  readonly number: number;
  /** The line as it was written. */
  readonly text: string;
  readonly cost: number;
}

export interface Bundle {
  readonly v: number;
  readonly run: string;
  readonly lines: readonly BundleLine[];
  readonly seed: number;
  readonly maxTokens: number;
  /** Times that its lines failed; such a bundle is answered while nothing else is. */
  readonly failures: number;
  readonly reason: string;
  /** One of the last of its batch: who takes it keeps no lines ahead of those that run. */
  readonly late?: boolean;
}

export interface BundleAnswer extends LineAnswer {
  readonly number: number;
  /** Hash of what was asked. */
  readonly hash: string;
}

/** Why lines of a bundle have no answer. `failed`: those in `guilty` ran when the engine ended. */
export type LeftReason = "drained" | "full" | "cancelled" | "failed" | "shared";

export interface BundleResult {
  readonly v: number;
  readonly machine: string;
  readonly answers: readonly BundleAnswer[];
  readonly left?: LeftReason;
  readonly guilty?: readonly number[];
  readonly reason?: string;
}

/** Bytes of answers after which a machine begins no more lines of a bundle. */
export const fullBytes = 32 * 2 ** 20;

function parsed(text: string | null | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return isObject(value) && value.v === wireVersion ? value : undefined;
  } catch {
    return undefined;
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const areTexts = (value: Readonly<Record<string, unknown>>, keys: readonly string[]): boolean =>
  keys.every((key) => typeof value[key] === "string");
const areNumbers = (value: Readonly<Record<string, unknown>>, keys: readonly string[]): boolean =>
  keys.every((key) => Number.isFinite(value[key]));

/** Undefined: damaged, or of another version. */
export function readRun(text: string | null | undefined): RunRecord | undefined {
  const value = parsed(text);
  if (value === undefined || !isObject(value.mark)) return undefined;
  const numbers = ["contextTokens", "typicalTokens", "longestTokens", "priority", "at"];
  const known =
    areTexts(value, ["id", "queue", "host"]) &&
    areTexts(value.mark, ["model", "files", "adapters", "kv", "full", "version"]) &&
    areNumbers(value, numbers);
  return known ? (value as unknown as RunRecord) : undefined;
}

export function readMachine(text: string | null | undefined): MachineRecord | undefined {
  const value = parsed(text);
  if (value === undefined) return undefined;
  const numbers = ["lanes", "tokens", "cost", "busyMs", "at"];
  const known = areTexts(value, ["id", "host", "queue"]) && areNumbers(value, numbers);
  return known ? (value as unknown as MachineRecord) : undefined;
}

/** @param value what BullMQ has parsed */
export function readBundle(value: unknown): Bundle | undefined {
  if (!isObject(value) || value.v !== wireVersion || !Array.isArray(value.lines) || value.lines.length === 0)
    return undefined;
  const known =
    areTexts(value, ["run", "reason"]) && ["seed", "maxTokens", "failures"].every((key) => isCount(value[key]));
  const whole = value.lines.every(
    (line: unknown) =>
      isObject(line) && isCount(line.number) && typeof line.text === "string" && Number.isFinite(line.cost),
  );
  return known && whole ? (value as unknown as Bundle) : undefined;
}

/** Lines of a bundle that its machine has given to others while it works on. */
export function readShared(progress: string | null | undefined): readonly number[] {
  try {
    const value: unknown = JSON.parse(progress ?? "");
    return isObject(value) && Array.isArray(value.left) && value.left.every(isCount) ? value.left : [];
  } catch {
    return [];
  }
}

export function readResult(text: string | null | undefined): BundleResult | undefined {
  const value = parsed(text);
  if (value === undefined || typeof value.machine !== "string" || !Array.isArray(value.answers)) return undefined;
  const whole = value.answers.every(isBundleAnswer);
  const guilty = value.guilty === undefined || (Array.isArray(value.guilty) && value.guilty.every(isCount));
  const reason = value.reason === undefined || typeof value.reason === "string";
  return whole && guilty && reason ? (value as unknown as BundleResult) : undefined;
}

function isBundleAnswer(value: unknown): boolean {
  if (!isObject(value) || !isCount(value.number) || typeof value.hash !== "string") return false;
  const { response, error } = value;
  if (response === null) return isObject(error) && areTexts(error, ["code", "message"]);
  return (
    isObject(response) && isCount(response.status_code) && typeof response.request_id === "string" && error === null
  );
}
