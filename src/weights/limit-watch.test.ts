import assert from "node:assert/strict";
import { test } from "node:test";
import { watchLimit } from "./limit-watch.js";

const MiB = 2 ** 20;

test("a lowered limit: first what can be spared is given back, then passes end", () => {
  let [limit, used, time, shrinks] = [1000, 900, 0, 0];
  const watch = watchLimit(
    () => ({ limitBytes: limit * MiB, usedBytes: used * MiB }),
    () => time,
  );
  const pass = () => {
    time += 1000;
    watch(() => {
      shrinks++;
      used -= 40;
    });
  };
  used = 990;
  pass();
  assert.equal(shrinks, 0, "close to a limit that nobody lowered");
  limit = 980;
  used = 930;
  watch(() => assert.fail("looked again at once"));
  pass();
  assert.deepEqual([shrinks, used], [1, 890]);
  limit = 900;
  assert.throws(pass, { code: "MEMORY_BUDGET", message: /lowered to 900 MiB and 890 MiB are in use/ });
  // The request after an error looks at once.
  assert.throws(() => watch(() => assert.fail("twice")), { code: "MEMORY_BUDGET" });
  limit = 2000;
  watch(() => assert.fail("twice"));
  assert.equal(shrinks, 1);
});

test("no limit at the beginning: one that comes counts as lowered; one that goes is none", () => {
  let limit: number | undefined;
  let time = 0;
  let shrinks = 0;
  const watch = watchLimit(
    () => (limit === undefined ? undefined : { version: 2, path: "", limitBytes: limit, usedBytes: 0 }),
    () => time,
  );
  for (const [next, expected] of [
    [undefined, 0],
    [100 * MiB, 0],
    [50 * MiB, 1],
    [undefined, 1],
  ] as const) {
    limit = next;
    time += 1000;
    watch(() => shrinks++);
    assert.equal(shrinks, expected);
  }
});
