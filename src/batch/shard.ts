/**
 * One of N machines answers a part of the lines, and no service tells it which: every machine parts the whole input in
 * the same way, by nothing but what stands in it.
 */
import { HundredweightError } from "../errors.js";
import type { Cut } from "./cut.js";

export interface Shard {
  /** From 0, as JOB_COMPLETION_INDEX of Kubernetes counts. */
  readonly index: number;
  readonly count: number;
}

const mostShards = 10_000;

/** Each shard is made of so many parts, so that all of them end at about the same time. */
const partsOfShard = 8;

/** @throws OPTION_INVALID */
export function parseShard(text: string): Shard {
  const [, index, count] = /^\s*(\d{1,5})\s*\/\s*(\d{1,5})\s*$/.exec(text) ?? [];
  const shard = { index: Number(index), count: Number(count) };
  if (index === undefined || shard.count < 1 || shard.count > mostShards)
    throw new HundredweightError(
      "OPTION_INVALID",
      `--shard: '${text}' is not I/N, as 0/3, 1/3 and 2/3 of three machines (at most ${mostShards})`,
    );
  if (shard.index >= shard.count)
    throw new HundredweightError(
      "OPTION_INVALID",
      `--shard: '${text}': shards are counted from 0, the last of ${count} is ${shard.count - 1}/${count}`,
    );
  return shard;
}

/**
 * The shard of each line, by its number. Lines with a common beginning stay together as far as the shards then cost
 * the same; lines that cost nothing (they cannot be asked) follow their number.
 * @param lines the number of the last line
 */
export function partLines(cut: Cut, count: number, lines: number): Uint16Array {
  const shards = Uint16Array.from({ length: lines + 1 }, (_, number) => number % count);
  const loads = new Float64Array(count);
  const most = cut.cost / (count * partsOfShard);
  for (let place = 0; place < cut.length; ) {
    let shard = 0;
    for (let other = 1; other < count; other++) if (loads[other]! < loads[shard]!) shard = other;
    for (let cost = 0; place < cut.length && (cost === 0 || cost < most); place++) {
      const line = cut.at(place);
      shards[line.number] = shard;
      cost += line.cost;
      loads[shard]! += line.cost;
    }
  }
  return shards;
}
