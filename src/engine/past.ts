/**
 * The engine's side of pasts that outlive the process: before a job starts, what a store has of its prompt's beginning
 * becomes a kept prefix; while it runs, what is worth it goes the other way. Which tokens come depends on none of it.
 */

import { pagePositions } from "../ops/ops.js";
import { PastChain } from "../past/chain.js";
import { PastMemory } from "../past/memory.js";
import type { PastParts } from "../past/parts.js";
import { loadSession, type SessionModel, type SessionText, saveSession } from "../past/session.js";
import { PastStore } from "../past/store.js";
import type { StateCache } from "../state/cache.js";
import type { Scoped } from "./jobs.js";
import type { EngineModel } from "./parts.js";
import { type Known, type PrefixCache, pastOf, type Timeline } from "./prefixes.js";
import type { Task } from "./task.js";

export interface PastKeeperOptions {
  readonly parts: PastParts;
  readonly model: EngineModel;
  readonly cache: StateCache;
  readonly prefixes: PrefixCache;
  /** Sequences that grow now, and those of them that are pasts. */
  readonly growing: Iterable<Timeline> & { pasts(): Iterable<Timeline> };
  readonly name: string;
  readonly rowMs: () => number;
  /** Positions of a task's prompt where the next one may begin to differ. */
  readonly turns: (task: Task) => readonly number[];
}

/** A past that saves less is not worth the files. */
const leastGain = pagePositions;
/** The beginnings of long prompts are kept while they are read. */
const tokensBetween = 8192;
/** Files that wait to be written may hold up the end of the program for so long. */
const mostClosingMs = 5000;

export class PastKeeper {
  private readonly o: PastKeeperOptions;
  private readonly chains = new WeakMap<Task, PastChain>();
  private readonly turns = new WeakMap<Task, readonly number[]>();
  /** Jobs for which the store was asked. */
  private readonly asked = new WeakSet<Task>();
  private made: PastStore | undefined;
  private lost = false;

  constructor(options: PastKeeperOptions) {
    this.o = options;
  }

  /** Says what a store has beyond what is known. */
  known(task: Task, known: Known): Known {
    const offered = this.offer(task, known.reused);
    if (offered === 0) return known;
    return { reused: offered, shared: Math.max(known.shared, offered), length: Math.max(known.length, offered) };
  }

  /** Whether a task waits for what a store has of its prompt. */
  wants(task: Task): boolean {
    if (this.asked.has(task)) return false;
    if (this.offered(task).length > 0) return true;
    this.asked.add(task);
    return false;
  }

  /** Reads what a store has of a prompt; it is a kept prefix then. Asked once a task. */
  async bring(task: Task): Promise<void> {
    if (this.asked.has(task)) return;
    this.asked.add(task);
    const { reused, length } = this.offered(task);
    if (length === 0 || !this.makeRoom(length)) return;
    const found = await this.store!.restore(this.chainOf(task), task.reusable, reused + leastGain);
    if (found !== undefined) this.o.prefixes.keep({ ...pastOf(task), sequence: found.sequence });
  }

  /** Positions that are known without the store, and those that it has. */
  private offered(task: Task): { readonly reused: number; readonly length: number } {
    const { prefixes, growing } = this.o;
    const { reused } = prefixes.known(task, task.reusable, growing.pasts());
    return { reused, length: this.offer(task, reused) };
  }

  /** Positions of the prompt that the store has, where they are worth reading; else 0. */
  private offer(task: Task, reused: number): number {
    if (task.past !== "kept" || task.reusable < reused + leastGain || this.store === undefined) return 0;
    const offered = this.store.offer(this.chainOf(task), task.reusable);
    return offered >= reused + leastGain ? offered : 0;
  }

  /** Pages of what is only kept are given up for a past that is asked for, where that is enough. */
  private makeRoom(length: number): boolean {
    const { cache, prefixes, growing } = this.o;
    const beside = Array.from(growing, ({ sequence }) => sequence);
    if (!cache.couldClaim(length, beside)) return false;
    while (!cache.canClaim(length)) if (!this.spare() && !prefixes.evict()) return false;
    return true;
  }

  /** Writes what is kept of the beginning of a text, as far as its owner finds it. @throws FILE_IO */
  async saveSession(path: string, model: SessionModel, text: SessionText & Scoped): Promise<number> {
    const { cache, prefixes } = this.o;
    const { adapters } = model;
    const { tokens, scope } = text;
    const found = prefixes.open({ tokens, adapters, scope }, tokens.length, []);
    try {
      await saveSession(this.memory, path, model, text, found.sequence);
      return found.length;
    } finally {
      cache.release(found.sequence);
    }
  }

  /** Reads one; what it holds is a kept prefix then. @throws what loadSession throws */
  async loadSession(
    path: string,
    model: SessionModel,
    vocab: number,
    scope: string | undefined,
  ): Promise<SessionText & { positions: number }> {
    const { cache, prefixes } = this.o;
    const makeRoom = (length: number): boolean => this.makeRoom(length);
    const { sequence, tokens, about, texts } = await loadSession(this.memory, path, model, vocab, makeRoom);
    const positions = sequence === undefined ? 0 : cache.length(sequence);
    if (sequence !== undefined) prefixes.keep({ sequence, tokens, adapters: model.adapters, scope });
    return { tokens, about, texts, positions };
  }

  private get memory(): PastMemory {
    const { parts, model, cache } = this.o;
    return new PastMemory(parts.units, cache, model.kvGroups, model.slots);
  }

  /** A pass has brought a prompt so far: at its end, and every few thousand tokens, its pages are worth keeping. */
  read(task: Task, sequence: number, from: number, to: number): void {
    if (task.past !== "kept" || this.store === undefined) return;
    const ends = from < task.promptTokens && to >= task.promptTokens;
    const crossed = to <= task.promptTokens && Math.floor(from / tokensBetween) < Math.floor(to / tokensBetween);
    if (ends || crossed) this.keep(task, sequence, Math.min(to, task.promptTokens));
    // Behind a window the past of every row of this pass is still there, and will not be for long.
    const { cache } = this.o;
    if (!cache.windowed || cache.slots !== undefined || from >= task.promptTokens) return;
    const turns = this.turns.get(task) ?? this.o.turns(task);
    this.turns.set(task, turns);
    for (const at of turns)
      if (at > from && at <= to && at >= leastGain && cache.rewindTarget(sequence, at) === at)
        this.store.keepState(this.chainOf(task), sequence, at);
  }

  /** A checkpoint of a prompt: a sequence of that length. */
  checkpoint(task: Task, sequence: number, position: number): void {
    if (task.past !== "kept" || position < leastGain || this.store === undefined) return;
    this.keep(task, sequence, position);
    this.store.keepState(this.chainOf(task), sequence, position);
  }

  /** An answer is done, and what it says is the past of what comes next. */
  ended(task: Task, sequence: number): void {
    if (task.past === "kept" && task.generated > 0) this.keep(task, sequence, this.o.cache.length(sequence));
  }

  private keep(task: Task, sequence: number, length: number): void {
    if (length >= leastGain) this.store?.keepPages(this.chainOf(task), sequence, length);
  }

  /** Others need pages: what waits to be written gives back its own. @returns whether there was any */
  spare(): boolean {
    return this.made?.spare() ?? false;
  }

  /** Between two passes. */
  async between(passMs: number): Promise<void> {
    await this.made?.between(passMs);
  }

  idle(): void {
    this.made?.idle();
  }

  busy(): void {
    this.made?.busy();
  }

  close(): Promise<void> {
    return this.made?.close(mostClosingMs) ?? Promise.resolve();
  }

  private chainOf(task: Task): PastChain {
    let chain = this.chains.get(task);
    if (chain === undefined) {
      const { adapters, scope } = task;
      chain = new PastChain({ fingerprint: this.o.parts.fingerprint().strict, adapters, scope }, task.tokens);
      this.chains.set(task, chain);
    }
    return chain;
  }

  private get store(): PastStore | undefined {
    const { parts, name, rowMs } = this.o;
    if (parts.store === undefined || this.lost) return undefined;
    if (this.made !== undefined) return this.made;
    let fingerprint: string;
    try {
      fingerprint = parts.fingerprint().strict;
    } catch {
      this.lost = true; // files of the model are gone: passes will say so
      return undefined;
    }
    this.made = new PastStore({
      folder: parts.store.folder,
      budgetBytes: parts.store.budgetBytes,
      fingerprint,
      model: name,
      memory: this.memory,
      rowMs,
      warn: parts.warn ?? (() => {}),
    });
    return this.made;
  }
}
