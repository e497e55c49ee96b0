/**
 * The lines of an input in the order in which machines are given them: those with a common beginning stand together,
 * so that one machine evaluates it once. 24 bytes a line are kept, and what a machine is given is read from the file
 * when it is given.
 */
import { createHash } from "node:crypto";
import type { Line } from "./lines.js";
import type { BatchRequest } from "./request.js";

/** Characters of a prompt by which it is told from others where nothing says what is shared. */
const beginningLength = 128;

/** A number for the beginning that a request may share with others: all messages but the last, or a few characters. */
export function beginningOf({ url, body }: BatchRequest): number {
  const { messages, prompt, input } = body;
  const shared = Array.isArray(messages) && messages.length > 1 ? messages.slice(0, -1) : undefined;
  const text = JSON.stringify(shared ?? messages ?? prompt ?? input ?? "");
  const beginning = shared === undefined ? text.slice(0, beginningLength) : text;
  return createHash("sha256").update(`${url}\n${beginning}`).digest().readUInt32LE(0);
}

/** Where a line lies, and what it costs. */
export interface CutLine {
  readonly number: number;
  readonly start: number;
  readonly bytes: number;
  readonly cost: number;
}

export class Cut {
  length = 0;
  /** The sum of all lines. */
  cost = 0;
  #numbers = new Uint32Array(1024);
  #keys = new Uint32Array(1024);
  #starts = new Float64Array(1024);
  #bytes = new Uint32Array(1024);
  #costs = new Float32Array(1024);
  #order: Uint32Array | undefined;

  /** @param cost positions that the answer may take */
  add({ number, start, end }: Pick<Line, "number" | "start" | "end">, key: number, cost: number): void {
    const at = this.length++;
    if (at === this.#numbers.length) this.#grow();
    this.#numbers[at] = number;
    this.#keys[at] = key;
    this.#starts[at] = start;
    this.#bytes[at] = end - start;
    this.#costs[at] = cost;
    this.cost += this.#costs[at]!;
    this.#order = undefined;
  }

  /** The line at a place of the order: groups of one beginning where they begin in the file, in them as in the file. */
  at(place: number): CutLine {
    this.#order ??= this.#sorted();
    const i = this.#order[place]!;
    return { number: this.#numbers[i]!, start: this.#starts[i]!, bytes: this.#bytes[i]!, cost: this.#costs[i]! };
  }

  #sorted(): Uint32Array {
    const order = Uint32Array.from({ length: this.length }, (_, i) => i);
    order.sort((a, b) => this.#keys[a]! - this.#keys[b]! || a - b);
    // The first line of a group is the group's rank.
    const ranks = new Uint32Array(this.length);
    for (const [place, i] of order.entries()) {
      const before = order[place - 1];
      ranks[i] = before !== undefined && this.#keys[before] === this.#keys[i] ? ranks[before]! : i;
    }
    return order.sort((a, b) => ranks[a]! - ranks[b]! || a - b);
  }

  #grow(): void {
    const size = 2 * this.#numbers.length;
    this.#numbers = grown(this.#numbers, new Uint32Array(size));
    this.#keys = grown(this.#keys, new Uint32Array(size));
    this.#starts = grown(this.#starts, new Float64Array(size));
    this.#bytes = grown(this.#bytes, new Uint32Array(size));
    this.#costs = grown(this.#costs, new Float32Array(size));
  }
}

function grown<T extends Uint32Array | Float64Array | Float32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
