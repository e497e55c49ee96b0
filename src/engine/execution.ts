/**
 * Passes: which rows the next one has, where its pages come from, what becomes of it. When pages run out the youngest
 * job goes back to the front of the queue.
 */
import { asHundredweightError, type HundredweightError } from "../errors.js";
import type { StateCache } from "../state/cache.js";
import type { Ledger, PassTraffic } from "../weights/ledger.js";
import type { Accounts } from "./accounts.js";
import type { Admission } from "./admission.js";
import type { DraftBlocks } from "./draft-blocks.js";
import type { DraftModel, Pays } from "./draft-model.js";
import { PassCosts } from "./drafts/pass-costs.js";
import { GenerateTask } from "./generate.js";
import type { EngineParts } from "./parts.js";
import { type Pass, reached } from "./pass.js";
import type { PassClock } from "./pass-clock.js";
import type { PastKeeper } from "./past.js";
import { type PrefixCache, pastOf } from "./prefixes.js";
import { youngest } from "./promises.js";
import { chooseRows } from "./rows.js";
import type { Running, RunningJobs } from "./running.js";
import type { StopSignal } from "./stop-signal.js";
import type { Rolling } from "./task.js";

export interface ExecutionOptions {
  readonly parts: EngineParts;
  readonly cache: StateCache;
  readonly prefixes: PrefixCache;
  readonly running: RunningJobs;
  readonly accounts: Accounts;
  readonly admission: Admission;
  readonly ledger: Ledger;
  readonly stop: StopSignal;
  readonly clock: PassClock;
  readonly draftModel?: DraftModel | undefined;
  readonly draftBlocks?: DraftBlocks | undefined;
  readonly past?: PastKeeper | undefined;
}

/** A cancel that was announced and never comes must not stop the engine. */
const mostUnheard = 1000;

export class Execution {
  private readonly o: ExecutionOptions;
  private readonly costs = new PassCosts();
  private unheard = 0;
  /** The guesser failed once and is asked no more: it may cost time, never an answer. */
  private leftOut = false;

  constructor(options: ExecutionOptions) {
    this.o = options;
  }

  /**
   * Lets a small model, or blocks of the file, guess what the answers in the making go on with. A stop ends it: then
   * there are no guesses. What fails is left out from then on.
   */
  async guess(): Promise<void> {
    const { draftModel, draftBlocks, running, cache } = this.o;
    const guesser = draftModel ?? draftBlocks;
    if (guesser === undefined || this.leftOut) return;
    const active = [...running].filter((entry) => !running.rests(entry));
    const answers = active.filter(
      ({ task, sequence }) =>
        task instanceof GenerateTask && task.answering && task.known - cache.length(sequence) === 1,
    );
    // Beside rows of a prompt guesses do not pay.
    const pays = answers.length < active.length ? () => false : this.paying(guesser, answers.length);
    const guessed = answers.map(({ task, sequence }) => ({ task: task as GenerateTask, sequence }));
    try {
      await guesser.guess(guessed, pays);
    } catch (error) {
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    const { code, message } = asHundredweightError(error);
    if (code === "CANCELLED") return;
    this.leftOut = true;
    const who = this.o.draftModel === undefined ? "the file's own blocks guess" : "the small model guesses";
    process.emitWarning(`${who} no more: ${message.replace(/\p{Cc}/gu, "?")}`, { code });
  }

  /** The blocks, as long as they guess. */
  private get following(): DraftBlocks | undefined {
    return this.leftOut ? undefined : this.o.draftBlocks;
  }

  /** Blocks that guess read what the pass has evaluated. */
  private follow(pass: Pass): void {
    try {
      this.following?.follow(pass);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Each of so many answers may have one guess more. */
  private paying({ passMs = 0 }: Pick<DraftModel, "passMs">, answers: number): Pays {
    const msOf = this.costs.from(answers, this.o.clock.rowMs);
    if (msOf === undefined) return () => false;
    const ms = (guesses: number): number => msOf(answers * (1 + guesses)) + guesses * passMs;
    return (guesses, expected, gain) => (expected + gain) / ms(guesses + 1) > expected / ms(guesses);
  }

  /** Lets answers go on that have filled their contexts: `Roll`. */
  roll(): void {
    const { running, cache, admission } = this.o;
    for (const entry of [...running]) {
      const { task, sequence } = entry;
      // One that was sent back for another's sake is no longer there.
      if (task.rolling?.full !== true || running.rests(entry) || !running.has(entry)) continue;
      if (cache.length(sequence) < task.known) continue;
      if (task.rolling.roll.how === "reread") admission.reread(entry);
      else this.shift(entry, task.rolling);
    }
  }

  private shift(entry: Running, rolling: Rolling): void {
    const { running, cache, admission, prefixes } = this.o;
    const { keep, discard } = rolling.roll;
    while (!cache.hasRoomToLeaveOut(entry.sequence, keep, discard)) {
      if (prefixes.giveUp()) continue;
      const victim = youngest(running, running.rests);
      if (victim === undefined || running.size === 1) break; // then the cache says what is wrong
      admission.sendBack(victim);
      if (victim === entry) return;
    }
    // From here on it is no past of its tokens, however this ends.
    rolling.left();
    entry.begun.reached -= discard;
    try {
      cache.leaveOut(entry.sequence, keep, discard);
    } catch (error) {
      running.finish(entry, asHundredweightError(error));
    }
  }

  /** The rows of the next pass, for which there are pages; undefined when there is nothing to do. */
  plan(): Pass | undefined {
    const { running, cache, accounts, parts } = this.o;
    for (;;) {
      const active = [...running].filter((entry) => !running.rests(entry));
      const pass = chooseRows(active, cache, {
        pass: accounts.counts.passes,
        mostRows: parts.info.chunkRows,
        promptRows: this.o.clock.promptRows(),
        passMs: (plain) => this.costs.from(plain, this.o.clock.rowMs),
      });
      if (pass === undefined || this.makeRoom(pass)) return pass;
    }
  }

  async run(pass: Pass): Promise<void> {
    const { parts, cache, prefixes, running, stop, ledger } = this.o;
    const { model, info } = parts;
    const entries = pass.parts.map(({ sequence }) => running.at(sequence));
    const rowMs = this.o.clock.rowMs ?? 0;
    stop.begin(pass.parts.map(({ rows }, i) => ({ job: entries[i]!.job.id, costMs: rows * rowMs })));
    let error: HundredweightError | undefined;
    const began = performance.now();
    try {
      // Cancels on their way: plan again without the jobs they are for.
      if (stop.unheard && this.unheard++ < mostUnheard) return;
      if (this.unheard > mostUnheard) stop.giveUp();
      this.unheard = 0;
      prefixes.makeRoomForMarks(pass.parts);
      for (const { sequence, rows, drafts, marks } of pass.parts)
        cache.append(sequence, rows, { drafts: drafts > 0, marks });
      await pass.run(model, cache, info.vocab, info.dim, this.following?.carried);
    } catch (thrown) {
      error = asHundredweightError(thrown);
      for (const { sequence, from } of pass.parts) cache.rewind(sequence, from);
    } finally {
      stop.end();
    }
    const elapsedMs = performance.now() - began;
    const traffic = ledger.lap();
    if (error === undefined) {
      this.follow(pass);
      this.record(pass, entries, traffic, elapsedMs);
    }
    // Stopped: cancels are on their way, and what the others had of this pass is done again without those jobs' rows.
    else if (error.code !== "CANCELLED") for (const entry of entries) running.finish(entry, error);
    for (const [i, entry] of entries.entries()) {
      const { fault } = pass.parts[i]!;
      if (fault !== undefined) running.finish(entry, asHundredweightError(fault));
      else if (error === undefined && entry.task.result !== undefined) running.finish(entry, entry.task.result);
    }
  }

  /**
   * Pages come from sequences that are only kept, then from the youngest job.  @returns whether the pass is as it was
   */
  private makeRoom(pass: Pass): boolean {
    const { prefixes, running, admission } = this.o;
    while (!prefixes.makeRoom(pass.parts)) {
      const victim = youngest(running, running.rests);
      if (victim === undefined || running.size === 1) return true; // then the pass says what is wrong
      admission.sendBack(victim);
      return false;
    }
    return true;
  }

  private record(pass: Pass, entries: readonly Running[], traffic: PassTraffic | undefined, elapsedMs: number): void {
    const { cache, prefixes, accounts, parts, past } = this.o;
    this.o.clock.record(pass.rows, pass.decoding, elapsedMs);
    if (pass.rows === pass.decoding) this.costs.record(pass.rows, elapsedMs, traffic?.stallMs ?? 0);
    accounts.passed(pass, traffic, elapsedMs);
    if (traffic !== undefined) {
      parts.liveDisk?.passed(traffic, elapsedMs);
      parts.liveMemory?.passed(pass.rows, traffic, elapsedMs);
    }
    for (const [i, part] of pass.parts.entries()) {
      const { sequence, from, rows, task } = part;
      if (part.drafts > 0) cache.rewind(sequence, reached(part));
      for (const position of part.marks)
        if (cache.canFork(sequence, position)) {
          const checkpoint = cache.fork(sequence, position);
          past?.checkpoint(task, checkpoint, position);
          prefixes.keep({ ...pastOf(task), sequence: checkpoint });
        }
      cache.settle(sequence);
      task.passed(part.drafts, part.accepted);
      accounts.served(part, entries[i]!);
      // A window forgets: a later prompt with the same beginning could not go back to it from the end of the answer.
      past?.read(task, sequence, from, from + rows);
      const promptEnds = from + rows === task.promptTokens && task.result === undefined;
      if (cache.windowed && promptEnds && task.past === "kept")
        prefixes.keep({ ...pastOf(task), sequence: cache.fork(sequence) });
    }
  }
}
