/** The machines that take part: they say every moment what they are and did, and who is silent is gone. */
import type { Redis } from "./redis.js";
import {
  type MachineRecord,
  machineSeconds,
  machinesKey,
  type RunRecord,
  readMachine,
  readRun,
  runsKey,
} from "./wire.js";

/** After so long nobody comes back for a batch or a machine. */
const forgottenSeconds = 7 * 24 * 3600;

/** Seconds by Redis's clock: those of machines differ. */
export async function queueSeconds(redis: Redis): Promise<number> {
  const [seconds] = await redis.time();
  return Number(seconds);
}

/** Machines that are there, of any queue; those that are long gone are struck out. */
export async function presentMachines(redis: Redis): Promise<MachineRecord[]> {
  const [now, found] = await Promise.all([queueSeconds(redis), redis.hgetall(machinesKey)]);
  const present: MachineRecord[] = [];
  for (const [id, text] of Object.entries(found)) {
    const machine = readMachine(text);
    if (machine !== undefined && now - machine.at <= machineSeconds) present.push(machine);
    else if (machine === undefined || now - machine.at > 10 * machineSeconds) await redis.hdel(machinesKey, id);
  }
  return present;
}

/** Batches that are submitted, of any queue, the most urgent first. */
export async function openRuns(redis: Redis): Promise<RunRecord[]> {
  const [now, found] = await Promise.all([queueSeconds(redis), redis.hgetall(runsKey)]);
  const open: RunRecord[] = [];
  for (const text of Object.values(found)) {
    const run = readRun(text);
    if (run !== undefined && now - run.at <= forgottenSeconds) open.push(run);
  }
  return open.sort((a, b) => a.priority - b.priority || (a.id < b.id ? -1 : 1));
}

/** The rates and tokens of the machines of one queue, as a submitting command sees them come and go. */
export class FleetView {
  machines: readonly MachineRecord[] = [];
  readonly #seen = new Map<string, { readonly first: number; last: number }>();

  /** @returns who came and who went */
  look(all: readonly MachineRecord[], queue: string): { came: MachineRecord[]; went: MachineRecord[] } {
    const now = all.filter((machine) => machine.queue === queue);
    const were = new Set(this.machines.map(({ id }) => id));
    const are = new Set(now.map(({ id }) => id));
    const came = now.filter(({ id }) => !were.has(id));
    const went = this.machines.filter(({ id }) => !are.has(id));
    this.machines = now;
    for (const { id, tokens } of now) {
      const known = this.#seen.get(id);
      if (known === undefined) this.#seen.set(id, { first: tokens, last: tokens });
      else known.last = Math.max(known.last, tokens);
    }
    return { came, went };
  }

  /** Tokens that were made since this was begun, also by machines that are gone. */
  get tokens(): number {
    let sum = 0;
    for (const { first, last } of this.#seen.values()) sum += last - first;
    return sum;
  }

  get lanes(): number {
    return this.machines.reduce((sum, { lanes }) => sum + lanes, 0);
  }

  /** Whether some have lines that wait, and others have none. */
  get areUneven(): boolean {
    return this.machines.some(({ ahead = 0 }) => ahead > 0) && this.machines.some(({ free = 0 }) => free > 0);
  }

  /** The median of the machines; undefined while none has done anything. */
  get costPerSecond(): number | undefined {
    const rates = this.machines
      .filter(({ cost, busyMs }) => cost > 0 && busyMs > 0)
      .map(({ cost, busyMs }) => (1000 * cost) / busyMs)
      .sort((a, b) => a - b);
    return rates[Math.floor(rates.length / 2)];
  }
}
