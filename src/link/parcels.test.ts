import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Addressed, pack, unpack } from "./parcels.js";
import type { JobEvent, LedgerEntry } from "./protocol.js";

const entry = fc.record({
  position: fc.nat(9),
  rows: fc.nat(9),
  diskBytes: fc.nat(1),
  pinnedBytes: fc.constant(5),
  stallMs: fc.constantFrom(0, 0.25),
  computeMs: fc.constantFrom(1.5, Number.NaN),
  expertHits: fc.constant(0),
  expertMisses: fc.constant(0),
  acceptedDrafts: fc.constant(0),
}) as fc.Arbitrary<LedgerEntry>;
const event: fc.Arbitrary<JobEvent> = fc.oneof(
  fc.record({ kind: fc.constant("token" as const), id: fc.nat(300_000), text: fc.string() }),
  fc.record({ kind: fc.constant("token" as const), id: fc.nat(9), text: fc.constant("a") }),
  fc.record({ kind: fc.constant("pass" as const), entry, done: fc.nat(99), total: fc.nat(99) }),
  fc.record({ kind: fc.constant("text" as const), text: fc.string() }),
  fc.record({ kind: fc.constant("queued" as const), ahead: fc.nat(9) }),
  fc.constant({
    kind: "token" as const,
    id: 1,
    text: "x",
    logprobs: { id: 1, logprob: -1, top: [{ id: 1, logprob: -1 }] },
  }),
);

test("what is packed comes out as it was, in its order, through a message", () => {
  const events = fc.array(fc.record({ job: fc.nat(20), event }), { maxLength: 40 });
  fc.assert(
    fc.property(events, (made) => {
      const sent = structuredClone(made); // the generator makes objects without a prototype
      const got: Addressed[] = [];
      unpack(structuredClone(pack(sent)), (job, event) => got.push({ job, event }));
      assert.deepEqual(got, sent);
    }),
  );
});

test("tokens and lines of one pass are one parcel each", () => {
  const line: LedgerEntry = {
    position: 0,
    rows: 1,
    diskBytes: 0,
    pinnedBytes: 9,
    stallMs: 0,
    computeMs: 2,
    expertHits: 0,
    expertMisses: 0,
    drafts: 0,
    acceptedDrafts: 0,
  };
  const jobs = Array.from({ length: 16 }, (_, job) => job);
  const parcels = pack([
    ...jobs.map((job) => ({ job, event: { kind: "token", id: job, text: "a" } as const })),
    ...jobs.map((job) => ({
      job,
      event: { kind: "pass", entry: { ...line, position: job }, done: 1, total: 0 } as const,
    })),
  ]);
  assert.equal(parcels.length, 2);
});
