/**
 * Says which job is next: users take turns, each name's own jobs in order of arrival. Start-time fair queueing: a
 * job's place is fixed when it comes, one turn behind the last one of its name, or now.
 * @source Goyal, Vin, Cheng: Start-time Fair Queuing (1996), every job being one unit
 */
export interface Waiting {
  readonly user: string;
}

interface Place<T> {
  readonly item: T;
  readonly turn: number;
}

/** Names whose last turn is over are forgotten; looked for when there are more than this. */
const maxNames = 1024;

export class FairQueue<T extends Waiting> {
  /** By turn, then arrival. */
  private readonly places: Place<T>[] = [];
  /** Per name: the turn after its last one. */
  private readonly nextTurns = new Map<string, number>();
  private turn = 0;

  get size(): number {
    return this.places.length;
  }

  push(item: T): void {
    const turn = Math.max(this.turn, this.nextTurns.get(item.user) ?? 0);
    this.nextTurns.set(item.user, turn + 1);
    let at = this.places.length;
    while (at > 0 && this.places[at - 1]!.turn > turn) at--;
    this.places.splice(at, 0, { item, turn });
    if (this.nextTurns.size <= maxNames) return;
    for (const [user, next] of this.nextTurns) if (next <= this.turn) this.nextTurns.delete(user);
  }

  /** One that was served already goes to the front, behind those given back before that are `older`. */
  giveBack(item: T, older: (other: T) => boolean): void {
    let at = 0;
    while (this.places[at]?.turn === -Infinity && older(this.places[at]!.item)) at++;
    this.places.splice(at, 0, { item, turn: -Infinity });
  }

  /** The first that is meant. */
  find(wanted: (item: T) => boolean): T | undefined {
    return this.places.find(({ item }) => wanted(item))?.item;
  }

  /** Takes one out whose turn it was. */
  serve(item: T): void {
    const place = this.places.find((p) => p.item === item);
    if (place !== undefined) this.turn = Math.max(this.turn, place.turn);
    this.remove(item);
  }

  /** Takes one out that gave up. */
  remove(item: T): void {
    const at = this.places.findIndex((p) => p.item === item);
    if (at >= 0) this.places.splice(at, 1);
  }

  /** All, in the order in which they will be served. */
  order(): T[] {
    return this.places.map(({ item }) => item);
  }
}
