/**
 * A small model that guesses for a large one, in the same thread and under the same budget. Each answer has a sequence
 * of its own here; before a pass of the large model the small one reads what it has not seen and goes on greedily, all
 * answers in one pass, as far as that pays.
 */
import { HundredweightError } from "../errors.js";
import { StateCache } from "../state/cache.js";
import type { Tokenizer } from "../tokenizer/types.js";
import { DraftTask } from "./draft-task.js";
import { type EngineParts, stateOptions } from "./parts.js";
import { Pass } from "./pass.js";

/** An answer that wants guesses. */
export interface Guessed {
  /** Tokens of its timeline, `known` of them decided. */
  readonly tokens: Int32Array;
  readonly known: number;
  /** Most guesses it takes now. */
  wants(): number;
  /** So many guesses are made, whether they pay or not. */
  readonly always: boolean;
  /** The share of guesses that were right lately. */
  readonly hope: number;
  /** How often guesses to which the small model gives this probability are right. */
  oddsOf(certainty: number): number;
  /** Takes the guesses, with the small model's probability of each. */
  offer(ids: readonly number[], certainty: readonly number[]): void;
}

/**
 * Whether one guess more pays: `guesses` of an answer are there, with which its pass makes `expected` tokens, and all
 * of them and the next one are right with probability `gain`.
 */
export type Pays = (guesses: number, expected: number, gain: number) => boolean;

/** Share of the small model's vocabulary that the large one must have at the same ids. */
const leastShared = 0.9;

export class DraftModel {
  private readonly parts: EngineParts;
  private readonly cache: StateCache;
  private readonly tasks = new Map<Guessed, { readonly task: DraftTask; readonly sequence: number }>();
  /** Ids below have the same text in both vocabularies, but for those in `strange`. */
  private readonly shared: number;
  private readonly strange: ReadonlySet<number>;
  /** Milliseconds of a pass of the small model, a row each. */
  passMs: number | undefined;

  /**
   * @param sequences answers at the same time
   * @throws OPTION_INVALID when the models have other vocabularies, or the small one cannot go back
   */
  constructor(parts: EngineParts, large: Pick<Tokenizer, "size" | "piece">, sequences: number) {
    const { info, model, tokenizer } = parts;
    if (model.slots !== undefined || info.vectors?.only === true)
      throw unfit(info.path, "a model that cannot go back to an earlier token, or makes no text, guesses for none");
    this.parts = parts;
    this.shared = Math.min(tokenizer.size, large.size);
    const strange = new Set<number>();
    for (let id = 0; id < this.shared; id++) if (tokenizer.piece(id) !== large.piece(id)) strange.add(id);
    this.strange = strange;
    if (this.shared - strange.size < leastShared * tokenizer.size)
      throw unfit(info.path, `${this.shared - strange.size} of its ${tokenizer.size} tokens are the large model's`);
    this.cache = new StateCache({
      ...stateOptions(model, model.backend),
      sequences,
      contextTokens: info.contextTokens,
      maxRows: info.chunkRows,
    });
  }

  /**
   * Guesses for these answers; what it kept of others is given up.
   * @throws what the small model throws, CANCELLED among it
   */
  async guess(guessed: readonly { readonly task: Guessed }[], pays: Pays): Promise<void> {
    const answers = guessed.map(({ task }) => task);
    for (const [answer, { sequence }] of this.tasks)
      if (!answers.includes(answer)) {
        this.cache.release(sequence);
        this.tasks.delete(answer);
      }
    const more = (answer: Guessed, guesses = 0, expected = 1, all = 1): boolean =>
      guesses < answer.wants() && (answer.always || pays(guesses, expected, all * answer.hope));
    const wanting = answers.filter((answer) => more(answer) && this.follow(answer));
    for (let active = wanting; active.length > 0; ) {
      await this.pass(active);
      active = active.filter((answer) => {
        const { task } = this.tasks.get(answer)!;
        if (!task.current) return true;
        return task.known < task.mostPositions && more(answer, task.guesses, task.expected, task.all);
      });
    }
    for (const answer of wanting) {
      const { task } = this.tasks.get(answer)!;
      const { guessed: ids, certainty } = task;
      const strange = ids.findIndex((id) => !this.isShared(id));
      const count = strange < 0 ? ids.length : strange;
      answer.offer(ids.slice(0, count), certainty.slice(0, count));
    }
  }

  close(): void {
    this.parts.model.close();
  }

  /** Takes over what was decided.  @returns whether there is room for the next token */
  private follow(answer: Guessed): boolean {
    if (answer.known >= this.parts.info.contextTokens) return false;
    let entry = this.tasks.get(answer);
    if (entry === undefined) {
      const idOf = (id: number): number => (this.isShared(id) ? id : 0);
      const { info, scans = {} } = this.parts;
      const task = new DraftTask(info.contextTokens, idOf, (certainty) => answer.oddsOf(certainty), scans);
      entry = { task, sequence: this.cache.openSequence() };
      this.tasks.set(answer, entry);
    }
    const { task, sequence } = entry;
    const same = task.follow(answer.tokens, answer.known);
    // The newest token is always evaluated: its logits are the first guess.
    if (same < this.cache.length(sequence)) this.cache.rewind(sequence, same);
    return true;
  }

  /** Tokens that only the large model has stand as any other: what follows them is guessed worse. */
  private isShared(id: number): boolean {
    return id < this.shared && !this.strange.has(id);
  }

  private async pass(answers: readonly Guessed[]): Promise<void> {
    const { model, info } = this.parts;
    const pass = new Pass();
    let left = info.chunkRows;
    for (const answer of answers) {
      const { task, sequence } = this.tasks.get(answer)!;
      const from = this.cache.length(sequence);
      const rows = Math.min(left, task.known - from);
      if (rows === 0) continue;
      left -= rows;
      pass.add({ task, sequence, from, rows, kind: "answer", drafts: 0, marks: [] });
    }
    const began = performance.now();
    for (const { sequence, rows } of pass.parts) this.cache.append(sequence, rows);
    try {
      await pass.run(model, this.cache, info.vocab, info.dim);
      const faulty = pass.parts.find(({ fault }) => fault !== undefined);
      if (faulty !== undefined) throw faulty.fault;
    } catch (error) {
      for (const { sequence, from } of pass.parts) this.cache.rewind(sequence, from);
      throw error;
    }
    const elapsed = performance.now() - began;
    for (const { sequence } of pass.parts) this.cache.settle(sequence);
    if (pass.rows === answers.length)
      this.passMs = this.passMs === undefined ? elapsed : 0.8 * this.passMs + 0.2 * elapsed;
  }
}

function unfit(path: string, reason: string): HundredweightError {
  return new HundredweightError("OPTION_INVALID", `--draft-model ${path}: ${reason}`);
}
