/** Parsers of Linux's /sys and /proc on made-up machines of 1, 2 and 4 memory nodes. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { HundredweightError } from "../errors.js";
import { threadLayout } from "./threads.js";
import { currentCpu, fastCpus, memoryNodes, type ReadText } from "./topology.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-sys-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let machines = 0;

/** A tree of files, read as the system's would be. */
function tree(files: Record<string, string>): ReadText {
  const root = join(folder, `${machines++}`);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return (path) => {
    try {
      return readFileSync(join(root, path), "utf8");
    } catch {
      return undefined;
    }
  };
}

interface Machine {
  readonly nodes: number;
  readonly coresPerNode: number;
  readonly allowed?: string;
  /** Where the process runs now. */
  readonly on?: number;
  readonly more?: Record<string, string>;
}

/** As Linux counts: the cores of all nodes first, then their second threads. */
function machine({ nodes, coresPerNode, allowed, on = 0, more }: Machine): ReadText {
  const cores = nodes * coresPerNode;
  const files: Record<string, string> = {
    "/proc/self/status": `Name:\tnode\nCpus_allowed_list:\t${allowed ?? `0-${2 * cores - 1}`}\n`,
    // The name of a process may hold anything.
    "/proc/self/stat": `7 (a) b c) S ${Array.from({ length: 35 }, (_, i) => i).join(" ")} ${on} 0 0\n`,
    "/sys/devices/system/node/online": nodes === 1 ? "0\n" : `0-${nodes - 1}\n`,
  };
  for (let cpu = 0; cpu < 2 * cores; cpu++) {
    const core = cpu % cores;
    files[`/sys/devices/system/cpu/cpu${cpu}/topology/core_id`] = `${core % coresPerNode}\n`;
    files[`/sys/devices/system/cpu/cpu${cpu}/topology/physical_package_id`] = `${Math.floor(core / coresPerNode)}\n`;
  }
  for (let node = 0; node < nodes; node++) {
    const [first, last] = [node * coresPerNode, (node + 1) * coresPerNode - 1];
    files[`/sys/devices/system/node/node${node}/cpulist`] = `${first}-${last},${cores + first}-${cores + last}\n`;
  }
  return tree({ ...files, ...more });
}

const codeOf = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof HundredweightError);
    return error.code;
  }
  return undefined;
};

test("one node: all cores, then their second threads", () => {
  const read = machine({ nodes: 1, coresPerNode: 4 });
  assert.deepEqual(memoryNodes(read), [{ node: 0, cpus: [0, 1, 2, 3, 4, 5, 6, 7], cores: 4 }]);
  assert.deepEqual(threadLayout({ numa: "distribute" }, read), {
    threads: 4,
    threadsBatch: 4,
    most: 4,
    cpuList: [0, 1, 2, 3],
    nodes: 1,
  });
});

test("two nodes: threads in turn on each, as many on one as on the other", () => {
  const read = machine({ nodes: 2, coresPerNode: 3, on: 10 });
  assert.deepEqual(
    memoryNodes(read).map(({ node, cores }) => [node, cores]),
    [
      [0, 3],
      [1, 3],
    ],
  );
  const layout = threadLayout({ numa: "distribute" }, read);
  assert.deepEqual([layout.most, layout.nodes, layout.cpuList], [6, 2, [0, 3, 1, 4, 2, 5]]);
  // CPU 10 is the second thread of core 4, of node 1.
  const isolated = threadLayout({ numa: "isolate" }, read);
  assert.deepEqual([isolated.most, isolated.nodes, isolated.cpuList], [3, 1, [3, 4, 5]]);
  assert.deepEqual(threadLayout({ numa: "numactl", threads: 5 }, read).cpuList, []);
});

test("four nodes: fewer threads for one row are spread as evenly", () => {
  const read = machine({ nodes: 4, coresPerNode: 2 });
  const layout = threadLayout({ numa: "distribute", threads: 4, threadsBatch: 8 }, read);
  assert.deepEqual([layout.threads, layout.threadsBatch, layout.most, layout.nodes], [4, 8, 8, 4]);
  assert.deepEqual(layout.cpuList, [0, 2, 4, 6, 1, 3, 5, 7]);
});

test("a cpuset leaves nodes uneven or out, a quota makes threads fewer", () => {
  const part = machine({ nodes: 4, coresPerNode: 4, allowed: "0-3,8-9" });
  assert.deepEqual(
    memoryNodes(part).map(({ node, cpus }) => [node, cpus]),
    [
      [0, [0, 1, 2, 3]],
      [2, [8, 9]],
    ],
  );
  assert.deepEqual(threadLayout({ numa: "distribute" }, part).cpuList, [0, 8, 1, 9]);
  const more = { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "500000 100000\n" };
  assert.equal(threadLayout({ numa: "distribute" }, machine({ nodes: 2, coresPerNode: 8, more })).most, 4);
});

test("nodes of memory alone, and systems that tell nothing", () => {
  const more = {
    "/sys/devices/system/node/online": "0-1,3\n",
    "/sys/devices/system/node/node3/cpulist": "\n",
  };
  assert.equal(memoryNodes(machine({ nodes: 2, coresPerNode: 2, more })).length, 2);
  const nothing = tree({ "/proc/self/status": "Cpus_allowed_list:\t0-3\n" });
  assert.deepEqual(memoryNodes(nothing), []);
  assert.equal(
    codeOf(() => threadLayout({ numa: "distribute" }, nothing)),
    "OPTION_INVALID",
  );
  assert.equal(threadLayout({ numa: "numactl", threads: 2 }, nothing).most, 2);
  assert.equal(currentCpu(nothing), undefined);
});

test("processors of two kinds of cores", () => {
  const cpus = [0, 1, 2, 3, 4, 5];
  assert.deepEqual(fastCpus(cpus, tree({ "/sys/devices/cpu_core/cpus": "0-3\n" })), [0, 1, 2, 3]);
  // Bound to the slow ones by somebody: they are what there is.
  assert.deepEqual(fastCpus([4, 5], tree({ "/sys/devices/cpu_core/cpus": "0-3\n" })), [4, 5]);
  const capacities = [1024, 1024, 700, 700, 280, 280];
  const arm = Object.fromEntries(capacities.map((c, i) => [`/sys/devices/system/cpu/cpu${i}/cpu_capacity`, `${c}\n`]));
  assert.deepEqual(fastCpus(cpus, tree(arm)), [0, 1, 2, 3]);
  assert.deepEqual(fastCpus(cpus, tree({})), cpus);
});

test("threads for one row and for more; what contradicts itself", () => {
  const read = machine({ nodes: 2, coresPerNode: 4 });
  const layout = threadLayout({ threads: 2, threadsBatch: 6 }, read);
  assert.deepEqual([layout.threads, layout.threadsBatch, layout.most, layout.nodes], [2, 6, 6, 0]);
  assert.equal(threadLayout({ threads: 3 }, read).threadsBatch, 3);
  assert.equal(threadLayout({ cpuList: [1, 3] }, read).most, 2);
  assert.equal(
    codeOf(() => threadLayout({ threadsBatch: 0 }, read)),
    "OPTION_INVALID",
  );
  assert.equal(
    codeOf(() => threadLayout({ numa: "isolate", cpuList: [1] }, read)),
    "OPTION_INVALID",
  );
  assert.equal(
    codeOf(() => threadLayout({ numa: "distribute", threads: 1 }, read)),
    "OPTION_INVALID",
  );
});
