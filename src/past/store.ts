/**
 * Pasts that outlive the process: whole pages of 256 positions and, where a model needs more to go on, its state at
 * checkpoints. Each file is written once, in the time that passes leave, and read back with every byte checked; what is
 * not what it should be is removed and evaluated again.
 */
import { HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import type { PastChain } from "./chain.js";
import { PastFolder, type PastFolderOptions } from "./folder.js";
import type { PastMemory, PastUnit } from "./memory.js";
import { RecordFile, type RecordHeader, recordBytes, recordUnits, sliceBytes, writeRecord } from "./record.js";

export interface PastStoreOptions extends PastFolderOptions {
  readonly memory: PastMemory;
  /** Milliseconds that a token of a prompt takes. */
  readonly rowMs: () => number;
  /** Told once, when nothing can be written any more. */
  readonly warn: (text: string) => void;
}

/** A file that is to be written. */
interface Item {
  readonly name: string;
  readonly units: readonly PastUnit[];
  readonly header: RecordHeader;
  /** Bytes of the file. */
  readonly bytes: number;
  /** When its past was used, milliseconds since 1970. */
  readonly at: number;
  release: (() => void) | undefined;
}

/** Files that are read at the same time. */
const readers = 4;
/** The part of the time of passes in which the disk is written, and the most of it at once. */
const writingShare = 1 / 16;
const mostWritingMs = 200;
/** A state has to save more time than this rate would take for its bytes. */
const stateBytesPerMs = 2e5;
/** Bytes of pages that wait to be written: more would hold the cache for long. */
const mostWaitingBytes = 4 * 2 ** 30;

export class PastStore {
  private readonly o: PastStoreOptions;
  private readonly folder: PastFolder;
  private readonly queue: Item[] = [];
  private readonly waiting = new Set<string>();
  private worker: Promise<void> | undefined;
  /** Milliseconds of writing that passes have paid for. */
  private credit = 0;
  private wake: (() => void) | undefined;
  private used: (() => void) | undefined;
  private failed = false;
  /** Positions of states of each timeline, ascending. */
  private readonly noted = new WeakMap<PastChain, number[]>();

  constructor(options: PastStoreOptions) {
    this.o = options;
    this.folder = new PastFolder(options);
  }

  /** The furthest position up to `limit` from which something that begins like this could go on. */
  offer(chain: PastChain, limit: number): number {
    const { memory } = this.o;
    // Pages of kinds that never forget have to be there from the beginning on.
    let whole = limit;
    for (const [kind, { window, positions }] of memory.kinds.entries()) {
      if (window !== 0 || positions === undefined) continue;
      let reached = 0;
      while (reached + positions <= whole && this.folder.has(pageName(chain, kind, reached + positions)))
        reached += positions;
      if (positions === pagePositions) whole = Math.min(whole, reached + pagePositions - 1);
      else whole = Math.min(whole, reached + positions - 1);
    }
    // States may lie anywhere, pages alone end at multiples of 256.
    const ends = memory.stateful
      ? this.folder.statesUpTo(whole)
      : Array.from({ length: Math.floor(whole / pagePositions) }, (_, i) => (i + 1) * pagePositions).reverse();
    return ends.find((at) => this.namesAt(chain, at).every((name) => this.folder.has(name))) ?? 0;
  }

  /** Files that a past of so many positions is made of: its state, then pages by position. */
  private namesAt(chain: PastChain, position: number): string[] {
    const { memory } = this.o;
    const names = memory.stateful ? [stateName(chain, position)] : [];
    for (const [kind, { positions, window }] of memory.kinds.entries()) {
      if (positions === undefined || window > 0) continue;
      for (let end = positions; end <= position; end += positions) names.push(pageName(chain, kind, end));
    }
    return names;
  }

  /**
   * Reads what is there into the cache, for which there has to be room.
   * @returns a sequence of the caller's own; undefined when nothing of use could be read
   */
  async restore(
    chain: PastChain,
    limit: number,
    least: number,
  ): Promise<{ sequence: number; length: number } | undefined> {
    const { memory } = this.o;
    for (let length = this.offer(chain, limit); length >= least; length = this.offer(chain, limit)) {
      if (!memory.cache.canClaim(length)) return undefined;
      const sequence = memory.cache.claim(length);
      const bad = await this.fill(chain, sequence, length).catch(() => this.namesAt(chain, length));
      if (bad.length === 0) {
        this.folder.used(this.namesAt(chain, length));
        return { sequence, length };
      }
      memory.cache.release(sequence);
      // What is damaged or gone is not offered again.
      for (const name of bad) this.folder.remove(name);
    }
    return undefined;
  }

  /** @returns names of files that are not what they should be */
  private async fill(chain: PastChain, sequence: number, length: number): Promise<string[]> {
    const units = this.o.memory.units(sequence);
    const byPlace = new Map(units.map((unit) => [`${unit.kind} ${unit.block}`, unit]));
    const names = this.namesAt(chain, length);
    const bad: string[] = [];
    const filled = new Set<PastUnit>();
    const one = async (name: string, buffer: Buffer): Promise<void> => {
      const file = await RecordFile.open(this.folder.path(name));
      try {
        const targets = file.header.units.map(({ kind, block, bytes }) => {
          const unit = byPlace.get(`${kind} ${block}`);
          if (unit === undefined || unit.bytes !== bytes) throw new HundredweightError("FORMAT_INVALID", name);
          return unit;
        });
        if (!sameTokens(file.header.tokens, chain, name, length)) throw new HundredweightError("FORMAT_INVALID", name);
        await file.read((index, offset, bytes) => this.o.memory.write(targets[index]!, offset, bytes), buffer);
        for (const unit of targets) filled.add(unit);
      } finally {
        await file.close();
      }
    };
    let next = 0;
    await Promise.all(
      Array.from({ length: Math.min(readers, names.length) }, async () => {
        const buffer = Buffer.allocUnsafe(sliceBytes);
        while (next < names.length && bad.length === 0) {
          const name = names[next++]!;
          await one(name, buffer).catch(() => bad.push(name));
        }
      }),
    );
    if (bad.length === 0 && filled.size !== units.length) return names; // files of other units than these
    return bad;
  }

  /** Notes all whole pages of a sequence before `length`: they are written when there is time. */
  keepPages(chain: PastChain, sequence: number, length: number): void {
    if (this.failed) return;
    const { memory } = this.o;
    const [at, there]: [number, string[]] = [Date.now(), []];
    for (const unit of memory.units(sequence)) {
      if (!memory.isWhole(unit, length)) continue;
      const positions = memory.kinds[unit.kind]!.positions!;
      const end = (unit.block + 1) * positions;
      const name = pageName(chain, unit.kind, end);
      if (this.folder.has(name)) there.push(name);
      else this.note(name, [unit], tokensOf(chain, end - positions, end), at);
    }
    this.folder.used(there, at);
    this.kick();
  }

  /**
   * Notes what is needed at a position besides whole pages: the slot, pages that are begun, those of windows.
   * @param sequence of that length, or longer where its states can go back
   */
  keepState(chain: PastChain, sequence: number, length: number): void {
    const { memory, rowMs } = this.o;
    if (this.failed || length === 0 || !memory.stateful) return;
    const units = memory.stateUnits(sequence, length);
    const bytes = units.reduce((sum, unit) => sum + unit.bytes, 0);
    const known = (at: number): boolean =>
      this.folder.has(stateName(chain, at)) || this.waiting.has(stateName(chain, at));
    const before = this.noted.get(chain)?.findLast((at) => at < length && known(at)) ?? 0;
    // Read again sooner than written.
    if ((length - before) * rowMs() < bytes / stateBytesPerMs) return;
    this.noted.set(chain, [...(this.noted.get(chain) ?? []), length]);
    const from = Math.floor(length / pagePositions) * pagePositions;
    if (units.length > 0) this.note(stateName(chain, length), units, tokensOf(chain, from, length), Date.now(), true);
    this.kick();
  }

  private note(name: string, units: readonly PastUnit[], tokens: string, at: number, first = false): void {
    if (this.waiting.has(name) || this.folder.has(name)) return;
    const bytes = units.reduce((sum, unit) => sum + unit.bytes, 0);
    const waitingBytes = this.queue.reduce((sum, item) => sum + item.bytes, 0);
    if (waitingBytes + bytes > mostWaitingBytes) return;
    const { cache } = this.o.memory;
    const holds = units.map(({ kind, unit }) => cache.hold(kind, [unit]));
    const header = { units: recordUnits(units), tokens };
    const item: Item = { name, units, header, bytes: recordBytes(header), at, release: undefined };
    item.release = () => {
      for (const drop of holds) drop();
    };
    if (first) this.queue.unshift(item);
    else this.queue.push(item);
    this.waiting.add(name);
  }

  /** Gives back what waits to be written: others need the room.  @returns whether there was anything */
  spare(): boolean {
    const held = this.queue.filter(({ release }) => release !== undefined);
    for (const item of held) this.drop(item);
    return held.length > 0;
  }

  private drop(item: Item): void {
    item.release?.();
    item.release = undefined;
    this.waiting.delete(item.name);
    const at = this.queue.indexOf(item);
    if (at >= 0) this.queue.splice(at, 1);
  }

  private kick(): void {
    this.worker ??= this.work().finally(() => {
      this.worker = undefined;
      this.used?.();
    });
  }

  /** Between two passes, the last of which took so long: writes a little. */
  async between(passMs: number): Promise<void> {
    if (this.worker === undefined) return;
    this.credit = Math.min(this.credit, 0) + Math.min(mostWritingMs, passMs * writingShare);
    if (this.credit <= 0) return;
    await new Promise<void>((resolve) => {
      this.used = resolve;
      this.wake?.();
    });
    this.used = undefined;
  }

  /** Nobody waits for anything: writes as fast as can be. */
  idle(): void {
    this.credit = Number.POSITIVE_INFINITY;
    this.wake?.();
  }

  /** Passes are made again. */
  busy(): void {
    if (this.credit === Number.POSITIVE_INFINITY) this.credit = 0;
  }

  /** Writes what waits for at most so long, and gives up the rest. */
  async close(mostMs: number): Promise<void> {
    this.idle();
    const timer = setTimeout(() => this.spare(), mostMs);
    while (this.worker !== undefined) await this.worker;
    clearTimeout(timer);
    this.spare();
  }

  private async work(): Promise<void> {
    await this.pace(0);
    for (let item = this.queue[0]; item !== undefined; item = this.queue[0]) {
      try {
        await this.write(item);
      } catch (error) {
        this.failed = true;
        this.spare();
        const { code, message } = error as NodeJS.ErrnoException;
        this.o.warn(`pasts are not kept on the disk any more (${code ?? "error"}: ${message})`);
      }
      this.drop(item);
    }
  }

  private async write(item: Item): Promise<void> {
    const { folder } = this;
    const { memory, rowMs } = this.o;
    if (!folder.makeRoom(item.bytes, rowMs())) return;
    const whole = await writeRecord({
      temporary: folder.temporary(),
      path: folder.path(item.name),
      header: item.header,
      read: (index, offset, into) => {
        // Given back meanwhile: what is read now is thrown away.
        if (item.release !== undefined) memory.read(item.units[index]!, offset, into);
      },
      pace: async (elapsedMs) => {
        if (item.release !== undefined) await this.pace(elapsedMs);
        return item.release !== undefined;
      },
    });
    if (whole && item.release !== undefined) folder.added(item.name, item.bytes, item.at);
  }

  private async pace(elapsedMs: number): Promise<void> {
    this.credit -= elapsedMs;
    while (this.credit <= 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        this.used?.();
      });
      this.wake = undefined;
    }
  }
}

const pageName = (chain: PastChain, kind: number, end: number): string => `p${end}-${kind}-${chain.at(end)}`;
const stateName = (chain: PastChain, position: number): string => `s${position}-0-${chain.at(position)}`;

function tokensOf({ tokens }: PastChain, from: number, to: number): string {
  const part = tokens.subarray(from, to);
  return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64");
}

/** The file is of these tokens, not only of this name. */
function sameTokens(told: unknown, chain: PastChain, name: string, length: number): boolean {
  const end = Number(/\d+/.exec(name)![0]);
  const span = typeof told === "string" ? Buffer.from(told, "base64").length / 4 : -1;
  const from = name.startsWith("p") ? end - span : Math.floor(length / pagePositions) * pagePositions;
  return span >= 0 && from >= 0 && told === tokensOf(chain, from, end);
}
