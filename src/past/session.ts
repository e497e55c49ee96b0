/**
 * A session as a file: the tokens of a text, what was evaluated of them, and what its owner keeps beside (the state of
 * a sampler). It goes on in another process as if nothing had been in between.
 */
import { HundredweightError } from "../errors.js";
import type { PastMemory } from "./memory.js";
import { RecordFile, recordUnits, sliceBytes, writeRecord } from "./record.js";

/** The things that have to be the same for a session to go on. */
export interface SessionModel {
  readonly fingerprint: string;
  /** A hash of the vocabulary; absent in files that were written before there was one. */
  readonly vocabulary?: string;
  readonly architecture: string;
  readonly kvType: string;
  /** Scales of adapters; absent: none counts. */
  readonly adapters?: readonly number[] | undefined;
}

export interface SessionText {
  readonly tokens: Int32Array;
  /** Whatever its owner keeps, as JSON. */
  readonly about: string;
  /** Which texts have these tokens, for whoever renders a conversation again. */
  readonly texts?: string | undefined;
}

/**
 * Writes a session. The old file stays until the new one is whole.
 * @param sequence holds the past of the first tokens, of as many as it is long
 * @throws FILE_IO
 */
export async function saveSession(
  memory: PastMemory,
  path: string,
  model: SessionModel,
  { tokens, about, texts }: SessionText,
  sequence: number,
): Promise<void> {
  const length = memory.cache.length(sequence);
  const units = [...memory.units(sequence), ...memory.wholeBeside(sequence, length)];
  const header = {
    units: recordUnits(units),
    model,
    length,
    tokens: Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength).toString("base64"),
    about,
    ...(texts !== undefined && { texts }),
  };
  try {
    const read = (index: number, offset: number, into: Uint8Array) => memory.read(units[index]!, offset, into);
    await writeRecord({ temporary: `${path}.tmp-${process.pid}`, path, header, read });
  } catch (error) {
    if (error instanceof HundredweightError) throw error;
    throw new HundredweightError("FILE_IO", `${path}: cannot be written: ${(error as Error).message}`, { path });
  }
}

/** A session that was read: a sequence of the caller's own holds what was evaluated; none where there is no room. */
export interface LoadedSession extends SessionText {
  readonly sequence: number | undefined;
}

/**
 * Reads a session into the cache.
 * @param makeRoom for a past of so many positions; false: the tokens alone are read, and evaluated again
 * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, SESSION_MISFIT
 */
export async function loadSession(
  memory: PastMemory,
  path: string,
  model: SessionModel,
  vocab: number,
  makeRoom: (length: number) => boolean,
): Promise<LoadedSession> {
  const file = await RecordFile.open(path);
  let sequence: number | undefined;
  try {
    const { length, tokens: told, about, texts, units, model: owner } = file.header;
    if (typeof told !== "string" || typeof about !== "string" || typeof length !== "number" || !isText(texts))
      throw new HundredweightError("FORMAT_INVALID", `${path}: is no session`, { path });
    checkModel(path, owner, model);
    const bytes = new Uint8Array(Buffer.from(told, "base64"));
    const tokens = new Int32Array(bytes.buffer, 0, bytes.length >> 2);
    const sound = Number.isSafeInteger(length) && length >= 0 && length <= tokens.length;
    if (!sound || tokens.some((id) => id < 0 || id >= vocab))
      throw new HundredweightError("FORMAT_INVALID", `${path}: holds tokens that are none of the model's`, { path });
    if (length === 0 || !makeRoom(length)) return { tokens, about, texts, sequence };
    sequence = memory.cache.claim(length);
    const held = [...memory.units(sequence), ...memory.unitsBeside(sequence)];
    const targets = new Map(held.map((unit) => [`${unit.kind} ${unit.block}`, unit]));
    const found = units.map(({ kind, block, bytes: size }) => {
      const target = targets.get(`${kind} ${block}`);
      if (target?.bytes !== size) return undefined;
      targets.delete(`${kind} ${block}`);
      return target;
    });
    for (const unit of targets.values()) {
      if (memory.isTrunk(unit.kind))
        throw new HundredweightError("FORMAT_INVALID", `${path}: lacks pages of its past`, { path });
      memory.clear(unit);
    }
    await file.read((index, offset, part) => {
      // Pages that were kept behind a window without need are not asked for.
      const target = found[index];
      if (target !== undefined) memory.write(target, offset, part);
    }, Buffer.allocUnsafe(sliceBytes));
    return { tokens, about, texts, sequence };
  } catch (error) {
    if (sequence !== undefined) memory.cache.release(sequence);
    throw error;
  } finally {
    await file.close();
  }
}

const isText = (value: unknown): value is string | undefined => value === undefined || typeof value === "string";

/** @throws SESSION_MISFIT */
function checkModel(path: string, told: unknown, model: SessionModel): void {
  const other = (told ?? {}) as Partial<SessionModel>;
  const fault =
    other.architecture !== model.architecture
      ? `it is of an architecture '${String(other.architecture).slice(0, 60)}', this one is '${model.architecture}'`
      : other.kvType !== model.kvType
        ? `its KV cache is of type ${String(other.kvType).slice(0, 20)}, this one of ${model.kvType}; use the same --kv`
        : JSON.stringify(other.adapters ?? []) !== JSON.stringify(model.adapters ?? [])
          ? "it was made with other adapters; use the same --lora"
          : other.vocabulary !== undefined && other.vocabulary !== model.vocabulary
            ? "it was made with another vocabulary: its token ids mean other texts here"
            : other.fingerprint !== model.fingerprint
              ? "it was made with another model, other adapters, another context or another version of hundredweight"
              : undefined;
  if (fault !== undefined)
    throw new HundredweightError("SESSION_MISFIT", `${path}: this session does not fit: ${fault}`);
}
