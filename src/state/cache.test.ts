import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HundredweightError } from "../errors.js";
import { StateCache, type StateCacheOptions } from "./cache.js";
import { UnitAllocator } from "./units.js";

const page = 256;
const keptRows = 32;

/** Pages hold what was written to them, so that a wrong table, a missing copy or a page given away shows. */
class Pages {
  readonly cells = new Map<number, Int32Array>();
  private at(group: number, id: number): Int32Array {
    const key = group * 1_000_000 + id;
    let cell = this.cells.get(key);
    if (cell === undefined) {
      cell = new Int32Array(page).fill(-1);
      this.cells.set(key, cell);
    }
    return cell;
  }
  copy(group: number, from: number, to: number): void {
    this.at(group, to).set(this.at(group, from));
  }
  write(group: number, id: number, offset: number, value: number): void {
    this.at(group, id)[offset] = value;
  }
  read(group: number, id: number, offset: number): number {
    return this.at(group, id)[offset]!;
  }
}

/** A row of a group: where it is, and of which position. */
interface Row {
  readonly p: number;
  readonly block: number;
  readonly offset: number;
}

/** A slot holds all that was ever fed into its state. */
class Slots {
  readonly states: number[][] = [];
  readonly kept: number[][] = [];
  replays = 0;
  /** The same for rows that are marked: [row, slot] each. */
  mark(marks: Int32Array | undefined, before: readonly number[], values: readonly number[]): void {
    for (let i = 0; i < (marks?.length ?? 0); i += 2)
      this.states[marks![i + 1]!] = [...before, ...values.slice(0, marks![i]! + 1)];
  }
  state(slot: number): readonly number[] {
    return slot < 0 ? [] : this.states[slot]!;
  }
  /** A pass: reads one slot, writes another. */
  feed([from, to, keep]: readonly number[], values: readonly number[]): void {
    this.states[to!] = [...this.state(from!), ...values];
    if (keep! >= 0) this.kept[keep!] = [...values];
  }
  readonly replay: NonNullable<StateCacheOptions["replay"]> = ({ from, to, keep, rows }) => {
    assert.notEqual(from, to);
    this.replays++;
    this.states[to] = [...this.state(from), ...this.kept[keep]!.slice(0, rows)];
  };
}

test("a unit is handed out once, counted, and given back once", () => {
  const allocator = new UnitAllocator(2, "page");
  const a = allocator.take();
  const b = allocator.take();
  assert.deepEqual([a, b], [0, 1]);
  assert.throws(() => allocator.take(), { code: "CONTEXT_EXCEEDED" });
  allocator.retain(a);
  assert.equal(allocator.holders(a), 2);
  allocator.release(a);
  assert.equal(allocator.free, 0);
  allocator.release(a);
  assert.equal(allocator.free, 1);
  assert.equal(allocator.most, 2);
  assert.throws(() => allocator.release(a), { code: "INTERNAL" });
});

test("the lowest free unit is handed out, in whatever order they came back", () => {
  const pages = new UnitAllocator(6, "page");
  for (let i = 0; i < 6; i++) pages.take();
  for (const page of [4, 1, 3]) pages.release(page);
  assert.deepEqual([pages.take(), pages.take(), pages.take()], [1, 3, 4]);
  assert.throws(() => pages.take(), /all 6 pages are in use/);
});

test("a window group forgets, says how far it can rewind, and starts afresh beyond that", () => {
  const cache = new StateCache({
    groups: [
      { pages: 8, window: 0 },
      { pages: 4, window: 300 },
    ],
    sequences: 1,
    contextTokens: 2048,
    maxRows: 256,
    copyPage: () => assert.fail("nothing is shared"),
  });
  const sequence = cache.openSequence();
  for (let i = 0; i < 8; i++) cache.append(sequence, 256);
  assert.deepEqual(cache.freeUnits(), [0, 1]);
  // The last append began at 1792 and kept [1493, ...): blocks from 5 (1280).
  assert.equal(cache.blockTables[1]![0]![4], -1);
  assert.notEqual(cache.blockTables[1]![0]![5], -1);
  assert.deepEqual(cache.snapshot(sequence).kinds[1]!.units, Array.from(cache.blockTables[1]![0]!));
  assert.equal(cache.rewindTarget(sequence, 1579), 1579);
  assert.equal(cache.rewindTarget(sequence, 1578), 0);
  assert.throws(() => cache.append(sequence, 1), { code: "CONTEXT_EXCEEDED" });
  assert.equal(cache.rewind(sequence, 100), 0);
  assert.deepEqual(cache.freeUnits(), [8, 4]);
});

test("a recurrent state goes back to the pass before, into it when drafts were fed in, and no further", () => {
  const slots = new Slots();
  const cache = new StateCache({
    groups: [],
    slots: { slots: 4, keeps: 2, keptRows },
    sequences: 3,
    growing: 2,
    contextTokens: 2048,
    maxRows: 256,
    copyPage: () => assert.fail("nothing is copied"),
    replay: slots.replay,
  });
  const places = (): readonly number[] => Array.from(cache.slotTable([sequence])!);
  const sequence = cache.openSequence();
  cache.append(sequence, 100);
  assert.deepEqual(places(), [-1, 0, -1]);
  slots.feed(places(), [1, 2, 3]);
  // A pass that failed is gone, whole; the next begins where it had begun.
  assert.equal(cache.rewindTarget(sequence, 99), 0);
  assert.equal(cache.rewind(sequence, 0), 0);
  assert.deepEqual(cache.freeUnits(), [4]);
  cache.append(sequence, 100);
  slots.feed(places(), [1, 2, 3]);
  cache.settle(sequence);
  cache.append(sequence, 3, { drafts: true });
  assert.deepEqual(places(), [0, 1, 0]);
  slots.feed(places(), [4, 5, 6]);
  // Forks share what is there, so the replay goes elsewhere.
  const fork = cache.fork(sequence);
  assert.deepEqual(
    [102, 101, 100, 99].map((p) => cache.rewindTarget(sequence, p)),
    [102, 101, 100, 0],
  );
  assert.deepEqual(
    [103, 102].map((p) => cache.rewindTarget(fork, p)),
    [103, 0],
  );
  assert.equal(cache.rewind(sequence, 102), 102);
  assert.deepEqual(slots.state(places()[1]!), [1, 2, 3, 4, 5]);
  assert.equal(cache.rewind(sequence, 101), 101);
  assert.deepEqual(slots.state(places()[1]!), [1, 2, 3, 4]);
  assert.deepEqual(slots.state(cache.snapshot(fork).kinds[0]!.units[0]!), [1, 2, 3, 4, 5, 6]);
  cache.settle(sequence);
  assert.equal(cache.rewindTarget(sequence, 100), 0);
  assert.deepEqual(cache.freeUnits(), [2]);
  assert.throws(() => cache.append(sequence, 33, { drafts: true }), { code: "INTERNAL" });
  cache.release(sequence);
  cache.release(fork);
  assert.deepEqual(cache.freeUnits(), [4]);
});

test("a fork may begin at a mark of the last pass, at its end, and nowhere else", () => {
  const slots = new Slots();
  const cache = new StateCache({
    groups: [{ pages: 8, window: 0 }],
    slots: { slots: 6, keeps: 1, keptRows },
    sequences: 3,
    growing: 1,
    contextTokens: 2048,
    maxRows: 400,
    copyPage: () => {},
    replay: slots.replay,
  });
  const sequence = cache.openSequence();
  // The last one is where the pass ends: no slot of its own.
  cache.append(sequence, 300, { marks: [10, 280, 300] });
  assert.deepEqual(Array.from(cache.markTable([{ sequence, at: 7 }])!), [16, 1, 286, 2]);
  assert.deepEqual(cache.freeUnits(), [6, 3]);
  assert.deepEqual(
    [9, 10, 280, 299, 300, 301].map((p) => cache.canFork(sequence, p)),
    [false, true, true, false, true, false],
  );
  assert.throws(() => cache.fork(sequence, 11), { code: "INTERNAL" });
  const fork = cache.fork(sequence, 280);
  assert.equal(cache.length(fork), 280);
  assert.deepEqual(cache.snapshot(fork).kinds[1], { kind: "slot", units: [2] });
  cache.settle(sequence);
  assert.deepEqual(cache.freeUnits(), [6, 4]);
  assert.equal(cache.canFork(sequence, 280), false);
  // Both own pages up to 280 and grow on their own.
  cache.append(fork, 5);
  assert.deepEqual(cache.freeUnits(), [5, 3]);
  cache.release(fork);
  cache.release(sequence);
  assert.deepEqual(cache.freeUnits(), [8, 6]);
});

test("any mix of append, settle, rewind, fork and release, of all kinds: contents right, nothing leaks", () => {
  const at = fc.nat(3);
  const command = fc.oneof(
    fc.record({
      kind: fc.constant("append" as const),
      at,
      rows: fc.integer({ min: 1, max: 300 }),
      /** Rows behind which forks may begin. */
      marks: fc.uniqueArray(fc.integer({ min: 1, max: 300 }), { maxLength: 2 }),
    }),
    fc.record({
      kind: fc.constant("draft" as const),
      at,
      rows: fc.integer({ min: 1, max: keptRows }),
      marks: fc.constant([] as number[]),
    }),
    fc.record({
      kind: fc.constant("rewind" as const),
      at,
      // From the end, where refused drafts are, or anywhere.
      back: fc.oneof(fc.nat(8), fc.integer({ min: 0, max: 700 })),
    }),
    fc.record({ kind: fc.constant("settle" as const), at }),
    fc.record({ kind: fc.constant("fork" as const), at, back: fc.oneof(fc.constant(0), fc.constant(-1)) }),
    fc.record({ kind: fc.constant("release" as const), at }),
    fc.record({ kind: fc.constant("open" as const), at }),
  );
  // The last has a row for every five positions, at the fifth.
  const groups = [{ window: 0 }, { window: 200 }, { window: 512 }, { window: 0, every: 5 }];
  /** The rows of positions [from, to) of a group: their places, and of which position each is. */
  const rowsOf = ({ every = 1 }: (typeof groups)[number], from: number, to: number): Row[] =>
    Array.from({ length: to - from }, (_, i) => from + i)
      .filter((p) => (p + 1) % every === 0)
      .map((p) => ({ p, block: Math.floor(p / every / page), offset: Math.floor(p / every) % page }));
  let [replays, midway] = [0, 0];
  fc.assert(
    fc.property(
      fc.array(command, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 9, max: 20 }),
      fc.integer({ min: 5, max: 8 }),
      (commands, pages, count) => {
        const memory = new Pages();
        const slots = new Slots();
        const cache = new StateCache({
          groups: groups.map((group) => ({ pages, ...group })),
          slots: { slots: count, keeps: 4, keptRows },
          sequences: 4,
          contextTokens: 2000,
          maxRows: 300,
          copyPage: (group, from, to) => memory.copy(group, from, to),
          replay: slots.replay,
        });
        /** Positions at which a fork of each sequence may begin. */
        const marked = new Map<number, readonly number[]>();
        const live = new Map<number, number[]>(); // the naive model: each sequence is a list of written values
        const current = (sequence: number): number => cache.snapshot(sequence).kinds.at(-1)!.units[0]!;
        let stamp = 0;
        // Drafts are often refused, and forks often begin where somebody marked.
        type Step =
          | (typeof commands)[number]
          | { readonly kind: "rewind" | "fork"; readonly at: number; readonly back: number };
        const steps = commands.flatMap((step): Step[] => {
          if (step.kind === "draft") return [step, { kind: "rewind", at: step.at, back: step.rows % 7 }];
          if (step.kind === "append" && step.marks.length > 0) return [step, { kind: "fork", at: step.at, back: -1 }];
          return [step];
        });
        const opens: Step[] = [0, 1].map((at) => ({ kind: "open", at }));
        for (const step of [...opens, ...steps]) {
          const sequence = step.at;
          const past = live.get(sequence);
          if (step.kind === "open") {
            if (live.size === 4) assert.throws(() => cache.openSequence());
            else live.set(cache.openSequence(), []);
          } else if (past === undefined) {
            assert.throws(() => cache.length(sequence), { code: "INTERNAL" });
          } else if (step.kind === "append" || step.kind === "draft") {
            const from = past.length;
            const marks = step.marks.filter((row) => row <= step.rows).map((row) => from + row);
            marks.sort((a, b) => a - b);
            try {
              cache.append(sequence, step.rows, { drafts: step.kind === "draft", marks });
            } catch (error) {
              assert.ok(error instanceof HundredweightError && error.code === "CONTEXT_EXCEEDED");
              assert.equal(cache.length(sequence), from);
              continue;
            }
            for (let p = from; p < from + step.rows; p++) past.push(++stamp);
            for (const [g, group] of groups.entries()) {
              for (const { p, block, offset } of rowsOf(group, from, past.length)) {
                memory.write(g, cache.blockTables[g]![sequence]![block]!, offset, past[p]!);
              }
            }
            slots.feed(cache.slotTable([sequence]) as unknown as number[], past.slice(from));
            slots.mark(cache.markTable([{ sequence, at: 0 }]), past.slice(0, from), past.slice(from));
            marked.set(sequence, marks);
            // Everything the first new row may see is there; so is everything the later rows may see.
            for (const [g, group] of groups.entries()) {
              const first = group.window === 0 ? 0 : Math.max(0, from - group.window + 1);
              for (const { p, block, offset } of rowsOf(group, first, past.length)) {
                const id: number = cache.blockTables[g]![sequence]![block]!;
                assert.ok(id >= 0);
                assert.equal(memory.read(g, id, offset), past[p]);
              }
            }
          } else if (step.kind === "settle") {
            cache.settle(sequence);
            marked.delete(sequence);
          } else if (step.kind === "rewind") {
            const wanted = Math.max(0, past.length - step.back);
            const target = cache.rewindTarget(sequence, wanted);
            assert.ok(target <= wanted);
            assert.equal(cache.rewindTarget(sequence, target), target);
            assert.equal(cache.rewind(sequence, wanted), target);
            past.length = target;
            marked.delete(sequence);
            for (const [g, group] of groups.entries()) {
              const first = group.window === 0 ? 0 : Math.max(0, target - group.window + 1);
              for (const { p, block, offset } of rowsOf(group, first, target)) {
                assert.equal(memory.read(g, cache.blockTables[g]![sequence]![block]!, offset), past[p]);
              }
            }
          } else if (step.kind === "fork") {
            if (live.size === 4) assert.throws(() => cache.fork(sequence));
            else {
              // At a mark of the last pass, where a window still sees what it must, or at the end.
              const mark = step.back < 0 ? marked.get(sequence)?.[0] : undefined;
              const position = mark !== undefined && cache.canFork(sequence, mark) ? mark : past.length;
              if (position < past.length) midway++;
              const copy = cache.fork(sequence, position);
              live.set(copy, past.slice(0, position));
              marked.delete(copy);
            }
          } else {
            cache.release(sequence);
            marked.delete(sequence);
            live.delete(sequence);
          }
          // Every state is that of its own past, whatever the others did.
          for (const [slot, values] of live) {
            assert.equal(cache.length(slot), values.length);
            assert.deepEqual(slots.state(current(slot)), values);
          }
          // Used pages are exactly those in some table.
          for (const g of groups.keys()) {
            const used = new Set<number>();
            for (const slot of live.keys()) for (const id of cache.blockTables[g]![slot]!) if (id >= 0) used.add(id);
            assert.equal(cache.freeUnits()[g], pages - used.size);
          }
        }
        for (const slot of live.keys()) cache.settle(slot);
        const used = new Set([...live.keys()].map(current).filter((slot) => slot >= 0));
        assert.equal(cache.freeUnits().at(-1), count - used.size);
        for (const slot of live.keys()) cache.release(slot);
        assert.deepEqual(cache.freeUnits(), [...groups.map(() => pages), count]);
        replays += slots.replays;
      },
    ),
    { numRuns: 200 },
  );
  assert.ok(replays > 20 && midway > 20, `${replays} times drafts were refused, ${midway} forks began at a mark`);
});
