import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HundredweightError } from "../errors.js";
import { KvCache } from "./cache.js";
import { PageAllocator } from "./pages.js";

const page = 256;

/** Pages hold what was written to them, so that a wrong table, a missing copy or a page given away shows. */
class Memory {
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

test("a page is handed out once, counted, and given back once", () => {
  const allocator = new PageAllocator(2);
  const a = allocator.take();
  const b = allocator.take();
  assert.deepEqual([a, b], [0, 1]);
  assert.throws(() => allocator.take(), { code: "CONTEXT_EXCEEDED" });
  allocator.retain(a);
  allocator.release(a);
  assert.equal(allocator.free, 0);
  allocator.release(a);
  assert.equal(allocator.free, 1);
  assert.equal(allocator.most, 2);
  assert.throws(() => allocator.release(a), { code: "INTERNAL" });
});

test("a window group forgets, says how far it can rewind, and starts afresh beyond that", () => {
  const cache = new KvCache({
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
  assert.deepEqual(cache.freePages(), [0, 1]);
  // The last append began at 1792 and kept [1493, ...): blocks from 5 (1280).
  assert.equal(cache.blockTables[1]![0]![4], -1);
  assert.notEqual(cache.blockTables[1]![0]![5], -1);
  assert.equal(cache.rewindTarget(sequence, 1579), 1579);
  assert.equal(cache.rewindTarget(sequence, 1578), 0);
  assert.throws(() => cache.append(sequence, 1), { code: "CONTEXT_EXCEEDED" });
  assert.equal(cache.rewind(sequence, 100), 0);
  assert.deepEqual(cache.freePages(), [8, 4]);
});

test("any mix of append, rewind, fork and release: contents right, no leak, no page given twice", () => {
  const command = fc.oneof(
    fc.record({ kind: fc.constant("append" as const), at: fc.nat(3), rows: fc.integer({ min: 1, max: 300 }) }),
    fc.record({
      kind: fc.constant("rewind" as const),
      at: fc.nat(3),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    fc.record({ kind: fc.constant("fork" as const), at: fc.nat(3) }),
    fc.record({ kind: fc.constant("release" as const), at: fc.nat(3) }),
    fc.record({ kind: fc.constant("open" as const), at: fc.nat(3) }),
  );
  const windows = [0, 200, 512];
  fc.assert(
    fc.property(
      fc.array(command, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 9, max: 20 }),
      (commands, pages) => {
        const memory = new Memory();
        const cache = new KvCache({
          groups: windows.map((window) => ({ pages, window })),
          sequences: 4,
          contextTokens: 2000,
          maxRows: 300,
          copyPage: (group, from, to) => memory.copy(group, from, to),
        });
        const live = new Map<number, number[]>(); // the naive model: each sequence is a list of written values
        let stamp = 0;
        for (const step of commands) {
          const sequence = step.at;
          const past = live.get(sequence);
          if (step.kind === "open") {
            if (live.size === 4) assert.throws(() => cache.openSequence());
            else live.set(cache.openSequence(), []);
          } else if (past === undefined) {
            assert.throws(() => cache.length(sequence), { code: "INTERNAL" });
          } else if (step.kind === "append") {
            const from = past.length;
            try {
              cache.append(sequence, step.rows);
            } catch (error) {
              assert.ok(error instanceof HundredweightError && error.code === "CONTEXT_EXCEEDED");
              assert.equal(cache.length(sequence), from);
              continue;
            }
            for (let p = from; p < from + step.rows; p++) {
              past.push(++stamp);
              for (const g of windows.keys()) {
                memory.write(g, cache.blockTables[g]![sequence]![Math.floor(p / page)]!, p % page, stamp);
              }
            }
            // Everything the first new row may see is there; so is everything the later rows may see.
            for (const [g, window] of windows.entries()) {
              const first = window === 0 ? 0 : Math.max(0, from - window + 1);
              for (let p = first; p < past.length; p++) {
                const id = cache.blockTables[g]![sequence]![Math.floor(p / page)]!;
                assert.ok(id >= 0);
                assert.equal(memory.read(g, id, p % page), past[p]);
              }
            }
          } else if (step.kind === "rewind") {
            const wanted = Math.floor(step.share * past.length);
            const target = cache.rewindTarget(sequence, wanted);
            assert.ok(target === wanted || target === 0);
            assert.equal(cache.rewind(sequence, wanted), target);
            past.length = target;
            for (const [g, window] of windows.entries()) {
              for (let p = window === 0 ? 0 : Math.max(0, target - window + 1); p < target; p++) {
                const id = cache.blockTables[g]![sequence]![Math.floor(p / page)]!;
                assert.equal(memory.read(g, id, p % page), past[p]);
              }
            }
          } else if (step.kind === "fork") {
            if (live.size === 4) assert.throws(() => cache.fork(sequence));
            else live.set(cache.fork(sequence), [...past]);
          } else {
            cache.release(sequence);
            live.delete(sequence);
          }
          // Used pages are exactly those in some table.
          for (const g of windows.keys()) {
            const used = new Set<number>();
            for (const slot of live.keys()) for (const id of cache.blockTables[g]![slot]!) if (id >= 0) used.add(id);
            assert.equal(cache.freePages()[g], pages - used.size);
          }
        }
        for (const slot of live.keys()) cache.release(slot);
        assert.deepEqual(cache.freePages(), [pages, pages, pages]);
      },
    ),
    { numRuns: 150 },
  );
});
