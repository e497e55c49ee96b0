/** A trace of cache accesses against textbook rules. Accesses of different groups never share slots. */
export interface Access {
  readonly key: number;
  readonly group: number;
  /** Counts towards the rate; others only fill the cache. */
  readonly measured: boolean;
}

/** Share of the measured accesses that were found. @param slots by group */
export function lru(trace: readonly Access[], slots: readonly number[]): number {
  const held = slots.map(() => new Set<number>()); // in order of last use
  return rate(trace, ({ key, group }) => {
    const set = held[group]!;
    const found = set.delete(key);
    if (!found && set.size >= slots[group]!) set.delete(set.values().next().value as number);
    set.add(key);
    return found;
  });
}

/** The same when what is used again last goes: the best there can be (Belady 1966). */
export function belady(trace: readonly Access[], slots: readonly number[]): number {
  const next = new Float64Array(trace.length);
  const seen = new Map<number, number>();
  for (let i = trace.length - 1; i >= 0; i--) {
    const { key } = trace[i]!;
    next[i] = seen.get(key) ?? Infinity;
    seen.set(key, i);
  }
  const held = slots.map(() => new Map<number, number>()); // key -> next use
  let at = 0;
  return rate(trace, ({ key, group }) => {
    const map = held[group]!;
    const found = map.has(key);
    if (!found && map.size >= slots[group]!) {
      let [last, victim] = [-1, -1];
      for (const [other, use] of map) if (use > last) [last, victim] = [use, other];
      map.delete(victim);
    }
    map.set(key, next[at++]!);
    return found;
  });
}

function rate(trace: readonly Access[], access: (a: Access) => boolean): number {
  let [found, all] = [0, 0];
  for (const a of trace) {
    const hit = access(a);
    if (!a.measured) continue;
    all++;
    if (hit) found++;
  }
  return found / Math.max(1, all);
}
