/** Random choices that repeat with their seed. */
import { seededWords } from "../../src/synth/random.js";

export class Dice {
  readonly words: () => number;
  constructor(seed: number, name: string) {
    this.words = seededWords(seed, name);
  }
  below(n: number): number {
    return n <= 1 ? 0 : this.words() % n;
  }
  one(n: number): boolean {
    return this.below(n) === 0;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}
