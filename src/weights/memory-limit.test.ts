import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { checkBudget, memoryLimit, overCeiling } from "./memory-limit.js";

const GiB = 2 ** 30;
const MiB = 2 ** 20;

function withFiles(files: Record<string, string>, use: (root: string) => void): void {
  const root = mkdtempSync(join(tmpdir(), "hw-memory-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
    use(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

const meminfo = `MemTotal: 33554432 kB\nMemAvailable:   ${16 * 2 ** 20} kB\n`;

test("without a cgroup limit the machine's available memory counts, less a margin", () => {
  withFiles({ "proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n" }, (root) => {
    const limit = memoryLimit(root);
    assert.equal(limit.availableBytes, 16 * GiB);
    assert.equal(limit.cgroup, undefined);
    assert.equal(limit.budgetBytes, 15 * GiB);
  });
});

test("cgroup v2: the tightest limit on the way up", () => {
  const files = {
    "proc/meminfo": meminfo,
    "proc/self/cgroup": "0::/user/job\n",
    "sys/fs/cgroup/user/job/memory.max": "max\n",
    "sys/fs/cgroup/user/job/memory.current": "1\n",
    "sys/fs/cgroup/user/memory.max": `${8 * GiB}\n`,
    "sys/fs/cgroup/user/memory.current": `${4 * GiB}\n`,
  };
  withFiles(files, (root) => {
    const limit = memoryLimit(root);
    assert.equal(limit.cgroup?.version, 2);
    assert.equal(limit.cgroup?.limitBytes, 8 * GiB);
    assert.equal(limit.budgetBytes, 3.75 * GiB);
  });
});

test("cgroup v1, with a path that only the host sees; no limit is a huge number", () => {
  const files = {
    "proc/meminfo": meminfo,
    "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/abc\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": `${2 * GiB}`,
    "sys/fs/cgroup/memory/memory.usage_in_bytes": `${GiB}`,
  };
  withFiles(files, (root) => {
    assert.equal(memoryLimit(root).cgroup?.limitBytes, 2 * GiB);
    assert.equal(memoryLimit(root).budgetBytes, 0.75 * GiB);
    writeFileSync(join(root, "sys/fs/cgroup/memory/memory.limit_in_bytes"), "9223372036854771712");
    assert.equal(memoryLimit(root).cgroup, undefined);
  });
});

test("page cache of a group can be dropped; the level that leaves least counts, not the smallest limit", () => {
  const files = {
    "proc/meminfo": meminfo,
    "proc/self/cgroup": "0::/user/job\n",
    "sys/fs/cgroup/user/job/memory.max": `${4 * GiB}\n`,
    "sys/fs/cgroup/user/job/memory.current": `${3 * GiB}\n`,
    "sys/fs/cgroup/user/job/memory.stat": `anon 5\nfile ${3 * GiB}\ninactive_file ${2 * GiB}\nactive_file ${GiB / 2}\n`,
    "sys/fs/cgroup/user/memory.max": `${8 * GiB}\n`,
    "sys/fs/cgroup/user/memory.current": `${6 * GiB}\n`,
    "sys/fs/cgroup/user/memory.stat": "inactive_file 0\n",
  };
  withFiles(files, (root) => {
    const { cgroup } = memoryLimit(root);
    assert.equal(cgroup?.limitBytes, 8 * GiB);
    assert.equal(cgroup?.usedBytes, 6 * GiB);
  });
  const alone = { ...files, "sys/fs/cgroup/user/memory.current": "0\n" };
  withFiles(alone, (root) => assert.equal(memoryLimit(root).cgroup?.usedBytes, GiB / 2));
});

test("limits of the process itself: address space and data, less what is used; locked memory limits nothing", () => {
  const limits = (space: string, data: string) =>
    "Limit                     Soft Limit           Hard Limit           Units     \n" +
    `Max data size             ${data.padEnd(20)} unlimited            bytes     \n` +
    "Max locked memory         8388608              8388608              bytes     \n" +
    `Max address space         ${space.padEnd(20)} unlimited            bytes     \n`;
  const files = {
    "proc/meminfo": meminfo,
    "proc/self/status": `Name:\tnode\nVmSize:\t${2 * 2 ** 20} kB\nVmData:\t${2 ** 20} kB\n`,
    "proc/self/limits": limits(`${10 * GiB}`, `${5 * GiB}`),
  };
  withFiles(files, (root) => {
    const limit = memoryLimit(root);
    assert.deepEqual(limit.process, {
      addressSpaceBytes: 10 * GiB,
      dataBytes: 5 * GiB,
      lockedBytes: 8 * 2 ** 20,
      leftBytes: 4 * GiB,
    });
    assert.equal(limit.budgetBytes, 3.75 * GiB);
    writeFileSync(join(root, "proc/self/limits"), limits(`${3 * GiB}`, "unlimited"));
    assert.equal(memoryLimit(root).process.leftBytes, GiB);
    writeFileSync(join(root, "proc/self/limits"), limits("unlimited", "unlimited"));
    assert.equal(memoryLimit(root).budgetBytes, 15 * GiB);
    writeFileSync(join(root, "proc/self/limits"), limits(`${GiB}`, "unlimited"));
    assert.equal(memoryLimit(root).budgetBytes, 0);
  });
});

const small = (used: number, status = "") => ({
  "proc/meminfo": meminfo,
  "proc/self/cgroup": "4:memory:/small\n",
  "proc/self/status": status,
  "sys/fs/cgroup/memory/small/memory.limit_in_bytes": `${400 * MiB}`,
  "sys/fs/cgroup/memory/small/memory.usage_in_bytes": `${used * MiB}`,
});

test("what is kept for others grows with the limit: of 400 MiB an eighth, from 2 GiB on 256 MiB", () => {
  withFiles(small(12), (root) => {
    const { budgetBytes, marginBytes } = memoryLimit(root);
    assert.equal(marginBytes, 50 * MiB);
    assert.equal(budgetBytes, (400 - 12 - 50) * MiB);
  });
});

test("what this process holds is in every plan: it is not taken from the budget too, a large part is", () => {
  const held = (mib: number) => `Name:\tnode\nRssAnon:\t${mib * 1024} kB\n`;
  withFiles(small(12 + 60, held(60)), (root) => {
    assert.equal(memoryLimit(root, {}).budgetBytes, 338 * MiB);
    assert.equal(memoryLimit(root, {}).ceiling.othersBytes, 12 * MiB);
  });
  withFiles(small(12 + 200, held(200)), (root) =>
    assert.equal(memoryLimit(root, {}).ceiling.othersBytes, (212 - 96) * MiB),
  );
});

test("a budget above the cgroup's limit is refused, naming both; one below, however tight, is not", () => {
  for (const version of [1, 2] as const) {
    const v2 = {
      "proc/meminfo": meminfo,
      "proc/self/cgroup": "0::/small\n",
      "sys/fs/cgroup/small/memory.max": `${400 * MiB}`,
      "sys/fs/cgroup/small/memory.current": `${12 * MiB}`,
    };
    withFiles(version === 1 ? small(12) : v2, (root) => {
      const limit = memoryLimit(root);
      assert.equal(overCeiling(400 * MiB, limit), undefined);
      assert.throws(() => checkBudget(600 * MiB, limit), {
        code: "MEMORY_BUDGET",
        message:
          `--memory 600 MiB is more than the memory limit of this cgroup (v${version}) of 400 MiB (others ` +
          `use 12 MiB of it); ` +
          "going over that ends the process: give less (338 MiB are free now), or raise the limit",
      });
    });
  }
  withFiles({ "proc/meminfo": meminfo }, (root) =>
    assert.throws(() => checkBudget(2 ** 50, memoryLimit(root)), /more than this machine's memory of/),
  );
});

test("Windows: what may be committed and the job's limit count, whichever leaves least", () => {
  const state = { totalBytes: 16 * GiB, availableBytes: 12 * GiB, ownBytes: 0.05 * GiB };
  const roomy = memoryLimit("/nowhere", { ...state, commitLimitBytes: 24 * GiB, commitLeftBytes: 20 * GiB });
  assert.equal(roomy.budgetBytes, Math.floor(12.05 * GiB * (15 / 16)));
  assert.equal(roomy.ceiling.name, "this machine's memory");
  const committed = memoryLimit("/nowhere", { ...state, commitLimitBytes: 16 * GiB, commitLeftBytes: 4 * GiB });
  assert.equal(committed.budgetBytes, Math.floor(4.05 * GiB) - committed.marginBytes);
  const inJob = memoryLimit("/nowhere", { ...state, jobLimitBytes: 2 * GiB, jobLeftBytes: 1.95 * GiB });
  assert.deepEqual(inJob.job, { limitBytes: 2 * GiB, usedBytes: 2 * GiB - 1.95 * GiB });
  assert.equal(inJob.ceiling.name, "the memory limit of this process's job");
  assert.ok(inJob.budgetBytes <= 2 * GiB);
  assert.throws(() => checkBudget(3 * GiB, inJob), {
    code: "MEMORY_BUDGET",
    message: /this process's job of 2048 MiB/,
  });
});
