/**
 * Pasts that outlive the process: pages of 256 positions and, where a model needs more to go on, its state at
 * checkpoints. Each file is written once, in the time that passes leave, and read back with every byte checked; what is
 * not what it should be is removed and evaluated again.
 */
import { HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import { PastBuffers, pastReaders } from "./buffers.js";
import type { PastChain } from "./chain.js";
import { type FoundPast, PastFinder } from "./finder.js";
import { PastFolder, type PastFolderOptions } from "./folder.js";
import type { PastMemory, PastUnit } from "./memory.js";
import { endOf, pageName, pagesFrom, sameTokens, stateName, tokensOf } from "./names.js";
import { RecordFile, type RecordHeader, recordBytes, recordUnits, writeRecord } from "./record.js";

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
  /** Absent: a state. */
  readonly page: NotedPage | undefined;
  release: (() => void) | undefined;
}

/** A page that is to be written. */
interface NotedPage {
  readonly chain: PastChain;
  /** Its first position. */
  readonly from: number;
  /** All its rows are there. */
  readonly whole: boolean;
}

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
  private readonly finder: PastFinder;
  private readonly buffers = new PastBuffers();
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
    this.finder = new PastFinder(this.folder, options.memory);
  }

  /** The furthest position up to `limit` from which something that begins like this could go on; 0: none. */
  offer(chain: PastChain, limit: number): number {
    return this.finder.find(chain, limit)?.length ?? 0;
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
    for (;;) {
      const found = this.finder.find(chain, limit);
      if (found === undefined || found.length < least || !memory.cache.canClaim(found.length)) return undefined;
      const { length, names } = found;
      const sequence = memory.cache.claim(length);
      const bad = await this.fill(chain, sequence, found).catch(() => names);
      if (bad.length === 0) {
        this.folder.used(names);
        return { sequence, length };
      }
      memory.cache.release(sequence);
      // What is damaged or gone is not offered again.
      for (const name of bad) this.folder.remove(name);
    }
  }

  /** @returns names of files that are not what they should be */
  private async fill(chain: PastChain, sequence: number, { length, names }: FoundPast): Promise<readonly string[]> {
    const { memory } = this.o;
    const [units, beside] = [memory.units(sequence), memory.unitsBeside(sequence)];
    const byPlace = new Map([...units, ...beside].map((unit) => [`${unit.kind} ${unit.block}`, unit]));
    const bad: string[] = [];
    const filled = new Set<PastUnit>();
    const one = async (name: string, buffer: Buffer): Promise<void> => {
      const file = await RecordFile.open(this.folder.path(name));
      try {
        const targets = file.header.units.map(({ kind, block, bytes }) => {
          const unit = byPlace.get(`${kind} ${block}`);
          if (unit?.bytes === bytes) return unit;
          // Of blocks that are not bound here, or keep nothing of this page.
          if (!memory.isTrunk(kind)) return undefined;
          throw new HundredweightError("FORMAT_INVALID", name);
        });
        if (!sameTokens(file.header.tokens, chain, name, length)) throw new HundredweightError("FORMAT_INVALID", name);
        await file.read((index, offset, bytes) => {
          const unit = targets[index];
          if (unit !== undefined) memory.write(unit, offset, bytes);
        }, buffer);
        for (const unit of targets) if (unit !== undefined) filled.add(unit);
      } finally {
        await file.close();
      }
    };
    let next = 0;
    await Promise.all(
      Array.from({ length: Math.min(pastReaders, names.length) }, async (_, reader) => {
        const buffer = this.buffers.at(reader);
        while (next < names.length && bad.length === 0) {
          const name = names[next++]!;
          await one(name, buffer).catch(() => bad.push(name));
        }
      }),
    );
    if (bad.length === 0 && units.some((unit) => !filled.has(unit))) return names; // files of other units than these
    // An engine without blocks wrote them: guesses may be worse there, answers are the same.
    for (const unit of beside) if (!filled.has(unit)) memory.clear(unit);
    return bad;
  }

  /**
   * Notes all pages of a sequence before `length`: they are written when there is time. The last one may be only begun,
   * unless states hold such pages.
   */
  keepPages(chain: PastChain, sequence: number, length: number): void {
    if (this.failed) return;
    const { memory } = this.o;
    const [at, there]: [number, string[]] = [Date.now(), []];
    const beside = memory.wholeBeside(sequence, length);
    for (const unit of memory.units(sequence)) {
      const positions = memory.kinds[unit.kind]!.positions ?? 0;
      const from = unit.block * positions;
      const end = Math.min(from + positions, length);
      const whole = memory.isWhole(unit, length);
      const name = pageName(chain, unit.kind, from, end);
      if (this.folder.has(name)) {
        there.push(name);
        this.forgetBegun(name, unit.kind, { chain, from });
      } else if (whole || this.worthBegun(chain, unit, from, end)) {
        this.note(name, memory.pageUnits(unit, beside), tokensOf(chain, from, end), at, { from, whole, chain });
      }
    }
    this.folder.used(there, at);
    this.kick();
  }

  /** Whether a page of which the rows in [from, end) are there is read sooner than these are evaluated. */
  private worthBegun(chain: PastChain, { bytes }: PastUnit, from: number, end: number): boolean {
    const { memory, rowMs } = this.o;
    if (memory.stateful || (end - from) * rowMs() <= bytes / stateBytesPerMs) return false;
    // A page that goes on with an answer has them too.
    return (this.finder.find(chain, end)?.length ?? 0) < end;
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
    if (units.length > 0) this.note(stateName(chain, length), units, tokensOf(chain, from, length), Date.now());
    this.kick();
  }

  private note(name: string, units: readonly PastUnit[], tokens: string, at: number, page?: NotedPage): void {
    if (this.waiting.has(name) || this.folder.has(name)) return;
    const bytes = units.reduce((sum, unit) => sum + unit.bytes, 0);
    const waitingBytes = this.queue.reduce((sum, item) => sum + item.bytes, 0);
    if (waitingBytes + bytes > mostWaitingBytes) return;
    const holds = units.map((unit) => this.o.memory.hold(unit));
    const header = { units: recordUnits(units), tokens };
    const item: Item = { name, units, header, bytes: recordBytes(header), at, page, release: undefined };
    item.release = () => {
      for (const drop of holds) drop();
    };
    if (page !== undefined)
      for (const other of this.queue.filter((old) => supersedes(name, units[0]!.kind, page, old.name)))
        this.drop(other);
    // States are few, and what comes behind them is worth nothing without.
    if (page === undefined) this.queue.unshift(item);
    else this.queue.push(item);
    this.waiting.add(name);
  }

  /**
   * Gives back what waits to be written, for others need the room: pages that are begun first, of which a copy is made
   * for whoever goes on with them.  @returns whether there was anything
   */
  spare(): boolean {
    const held = this.queue.filter(({ release }) => release !== undefined);
    const begun = held.filter(({ page }) => page?.whole === false);
    for (const item of begun.length > 0 ? begun : held) this.drop(item);
    return held.length > 0;
  }

  private spareAll(): void {
    while (this.spare());
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
    const timer = setTimeout(() => this.spareAll(), mostMs);
    while (this.worker !== undefined) await this.worker;
    clearTimeout(timer);
    this.spareAll();
  }

  private async work(): Promise<void> {
    await this.pace(0);
    for (let item = this.queue[0]; item !== undefined; item = this.queue[0]) {
      try {
        await this.write(item);
      } catch (error) {
        this.failed = true;
        this.spareAll();
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
      buffer: this.buffers.at(pastReaders),
      read: (index, offset, into) => {
        // Given back meanwhile: what is read now is thrown away.
        if (item.release !== undefined) memory.read(item.units[index]!, offset, into);
      },
      pace: async (elapsedMs) => {
        if (item.release !== undefined) await this.pace(elapsedMs);
        return item.release !== undefined;
      },
    });
    if (!whole) return;
    // Given up in the last moment: more of the page is there, or soon will be.
    if (item.release === undefined) return folder.remove(item.name);
    folder.added(item.name, item.bytes, item.at);
    if (item.page !== undefined) this.forgetBegun(item.name, item.units[0]!.kind, item.page);
  }

  /** A page is there: files of the same one when fewer of its rows were there are of no use. */
  private forgetBegun(name: string, kind: number, page: Pick<NotedPage, "chain" | "from">): void {
    for (const item of this.queue.filter((old) => supersedes(name, kind, page, old.name))) this.drop(item);
    for (const other of this.folder.pagesBehind(pagesFrom(page.chain, kind, page.from)))
      if (supersedes(name, kind, page, other)) this.folder.remove(other);
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

/** Whether the other file is the same page as it was when fewer of its rows were there. */
function supersedes(name: string, kind: number, page: Pick<NotedPage, "chain" | "from">, other: string): boolean {
  const end = endOf(other);
  return end > page.from && end < endOf(name) && other === pageName(page.chain, kind, page.from, end);
}
