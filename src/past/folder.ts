/**
 * The folder of a store: one folder a model, by its fingerprint, in it a file for each page and each state. The least
 * worthy goes when the budget is full: the seconds it would take to evaluate it again for each of its bytes, halved
 * with age. Of one past the end goes first, for without its beginning the rest is worth nothing.
 */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { isAlive } from "../process/alive.js";
import { replaceFileSync } from "../replace-file.js";

export interface PastFolderOptions {
  readonly folder: string;
  /** Bytes of all files; default: the smaller of 10 GiB and a tenth of what is free. */
  readonly budgetBytes?: number | undefined;
  /** The model's folder. */
  readonly fingerprint: string;
  /** For whoever looks into the folder. */
  readonly model: string;
  readonly now?: () => number;
}

const mostBytes = 10 * 2 ** 30;
const freeShare = 0.1;
/** The worth of what nobody used halves after this. */
const halfLifeMs = 3 * 24 * 3600_000;
/** A file that is still being written after this is nobody's any more. */
const abandonedMs = 3600_000;
/** The names of others' files are looked up again after this. */
const freshMs = 1000;

interface Entry {
  readonly bytes: number;
  usedMs: number;
}

/** `p` or `s`, positions, kind, hash. */
const fileName = /^[ps](\d{1,10})-(\d{1,3})-[0-9a-f]{40}$/;

export class PastFolder {
  private readonly o: PastFolderOptions;
  private readonly own: string;
  private readonly entries = new Map<string, Entry>();
  /** Names of pages by what stands before them. */
  private readonly behind = new Map<string, Set<string>>();
  private readonly now: () => number;
  private looked = Number.NEGATIVE_INFINITY;
  private changedMs = -1;
  private temporaries = 0;
  /** Bytes of all models as they were counted last, with what was written since. */
  private total: number | undefined;
  private rowMs = 0;

  constructor(options: PastFolderOptions) {
    this.o = options;
    this.own = join(options.folder, options.fingerprint.slice(0, 32));
    this.now = options.now ?? Date.now;
  }

  path(name: string): string {
    return join(this.own, name);
  }

  /** A name under which a file may be written until it is whole. */
  temporary(): string {
    return join(this.own, `tmp-${process.pid}-${++this.temporaries}`);
  }

  has(name: string): boolean {
    if (!this.entries.has(name)) this.look();
    return this.entries.has(name);
  }

  /** Positions at which there are states, the furthest first. */
  statesUpTo(limit: number): number[] {
    this.look();
    const found = new Set<number>();
    for (const name of this.entries.keys()) {
      const position = Number(fileName.exec(name)![1]);
      if (name.startsWith("s") && position <= limit) found.add(position);
    }
    return [...found].sort((a, b) => b - a);
  }

  /** Pages with this between `p` and the second half of their hash, but for the end; last used ones come first. */
  pagesBehind(beginning: string): string[] {
    this.look();
    const found = [...(this.behind.get(beginning) ?? [])];
    return found.sort((a, b) => this.entries.get(b)!.usedMs - this.entries.get(a)!.usedMs);
  }

  private clear(): void {
    this.entries.clear();
    this.behind.clear();
  }

  private put(name: string, entry: Entry): void {
    this.entries.set(name, entry);
    if (!name.startsWith("p")) return;
    const beginning = beginningOf(name);
    const known = this.behind.get(beginning);
    if (known === undefined) this.behind.set(beginning, new Set([name]));
    else known.add(name);
  }

  private drop(name: string): void {
    this.entries.delete(name);
    const beginning = beginningOf(name);
    const known = this.behind.get(beginning);
    known?.delete(name);
    if (known?.size === 0) this.behind.delete(beginning);
  }

  /** Looks what is there: other programs write and clear up as well. */
  private look(): void {
    if (this.now() - this.looked < freshMs) return;
    this.looked = this.now();
    try {
      const { mtimeMs } = statSync(this.own);
      if (mtimeMs === this.changedMs) return;
      this.changedMs = mtimeMs;
      const found = entriesOf(this.own, this.entries);
      this.clear();
      for (const [name, entry] of found) this.put(name, entry);
    } catch {
      this.clear(); // there is none yet
    }
  }

  /** These were of use: they stay longer. Of one past all get the same time, so that its end goes first. */
  used(names: readonly string[], at = this.now()): void {
    for (const name of names) {
      const entry = this.entries.get(name);
      if (entry !== undefined) entry.usedMs = at;
      utimes(this.path(name), at / 1000, at / 1000).catch(() => {}); // it is gone, or another user's
    }
  }

  /** Removes a file that is not what it should be, or of no more use. */
  remove(name: string): void {
    const entry = this.entries.get(name);
    if (entry !== undefined && this.total !== undefined) this.total -= entry.bytes;
    this.drop(name);
    unlinkQuietly(this.path(name));
  }

  /** Written now, of a past that was used at that time. */
  added(name: string, bytes: number, at: number): void {
    this.put(name, { bytes, usedMs: at });
    if (this.total !== undefined) this.total += bytes;
    this.used([name], at);
  }

  /**
   * Makes the folders and room for a file.  @returns whether there is room
   * @param rowMs milliseconds that a token of a prompt takes
   * @throws what the system says
   */
  makeRoom(bytes: number, rowMs: number): boolean {
    this.prepare(rowMs);
    const limit = this.limit();
    if (bytes > limit) return false;
    if (this.total === undefined || this.total + bytes > limit) this.evict(limit - bytes);
    return this.total! + bytes <= limit;
  }

  private prepare(rowMs: number): void {
    for (const folder of [this.o.folder, this.own]) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      if (process.platform !== "win32" && (statSync(folder).mode & 0o077) !== 0) chmodSync(folder, 0o700);
    }
    // One rate a model: of two pasts of it the one that was used later stays.
    if (rowMs > 0 && Math.abs(rowMs - this.rowMs) > 0.2 * this.rowMs) {
      this.rowMs = rowMs;
      const temporary = this.temporary();
      writeFileSync(temporary, `${JSON.stringify({ model: this.o.model, rowMs })}\n`, { mode: 0o600 });
      replaceFileSync(temporary, join(this.own, "about.json"));
    }
  }

  private limit(): number {
    if (this.o.budgetBytes !== undefined) return this.o.budgetBytes;
    const { bavail, bsize } = statfsSync(this.o.folder);
    return Math.min(mostBytes, freeShare * (bavail * bsize + (this.total ?? 0)));
  }

  /** Counts everything, and takes the least worthy until no more than `most` bytes are left. */
  private evict(most: number): void {
    const now = this.now();
    const all: { path: string; name: string; own: boolean; bytes: number; worth: number; positions: number }[] = [];
    this.total = 0;
    for (const model of readdirSync(this.o.folder)) {
      const folder = join(this.o.folder, model);
      const rowMs = rowMsOf(folder);
      for (const [name, { bytes, usedMs }] of entriesOf(folder, new Map(), now)) {
        const positions = Number(fileName.exec(name)![1]);
        // Of a page that is begun its rows count; a state saves what lies between it and the one before, which nobody
        // knows here.
        const rows = (name.startsWith("p") && positions % 256) || 256;
        const worth = (rowMs * rows * 2 ** ((usedMs - now) / halfLifeMs)) / Math.max(1, bytes);
        all.push({ path: join(folder, name), name, own: folder === this.own, bytes, worth, positions });
        this.total += bytes;
      }
    }
    all.sort((a, b) => a.worth - b.worth || b.positions - a.positions);
    for (const { path, name, own, bytes } of all) {
      if (this.total <= most) return;
      unlinkQuietly(path);
      if (own) this.drop(name);
      this.total -= bytes;
    }
  }
}

/** The kind of a page and the half of its hash that it shares with others behind the same past. */
const beginningOf = (name: string): string => name.slice(name.indexOf("-"), -20);

/** Files of a model's folder; what was left half-written long ago is removed. */
function entriesOf(folder: string, known: ReadonlyMap<string, Entry>, now = Date.now()): [string, Entry][] {
  const found: [string, Entry][] = [];
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {
    return []; // a file beside, or gone
  }
  for (const name of names) {
    const entry = known.get(name);
    if (entry !== undefined) {
      found.push([name, entry]);
      continue;
    }
    const isOurs = fileName.test(name);
    if (!isOurs && !name.startsWith("tmp-")) continue;
    try {
      const { size, mtimeMs } = statSync(join(folder, name));
      if (isOurs) found.push([name, { bytes: size, usedMs: mtimeMs }]);
      else if (now - mtimeMs > abandonedMs || !isAlive(Number(name.split("-")[1]))) unlinkQuietly(join(folder, name));
    } catch {
      // another one cleared up
    }
  }
  return found;
}

function rowMsOf(folder: string): number {
  try {
    const { rowMs } = JSON.parse(readFileSync(join(folder, "about.json"), "utf8")) as { rowMs?: unknown };
    return typeof rowMs === "number" && rowMs > 0 && Number.isFinite(rowMs) ? rowMs : 1;
  } catch {
    return 1;
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // gone already
  }
}
