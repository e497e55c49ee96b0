import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { cpuQuota, defaultThreads as defaultThreadsOf } from "./threads.js";
import { parseCpuRanges, type ReadText } from "./topology.js";

const defaultThreads = (read?: ReadText) => defaultThreadsOf(read, {});

const system =
  (files: Record<string, string>): ReadText =>
  (path) =>
    files[path];

/** A machine of `cores` cores with two hyper-threads each: CPUs c and c + cores are core c. */
function machine(cores: number, allowed: string, more: Record<string, string> = {}): ReadText {
  const files: Record<string, string> = {
    "/proc/self/status": `Name:\tnode\nCpus_allowed_list:\t${allowed}\n`,
    ...more,
  };
  for (let cpu = 0; cpu < 2 * cores; cpu++) {
    files[`/sys/devices/system/cpu/cpu${cpu}/topology/core_id`] = `${cpu % cores}\n`;
    files[`/sys/devices/system/cpu/cpu${cpu}/topology/physical_package_id`] = "0\n";
  }
  return system(files);
}

test("CPU lists", () => {
  assert.deepEqual(parseCpuRanges("0-2,8\n"), [0, 1, 2, 8]);
  assert.deepEqual(parseCpuRanges("5"), [5]);
  assert.equal(parseCpuRanges("0-"), undefined);
  assert.equal(parseCpuRanges("0-99999999999"), undefined);
});

test("one thread per physical core of the affinity mask", () => {
  assert.equal(defaultThreads(machine(8, "0-15")), 8);
  assert.equal(defaultThreads(machine(8, "0,8")), 1);
  assert.equal(defaultThreads(machine(8, "1-3,9")), 3);
});

test("packages count apart, and CPUs without a topology each count", () => {
  assert.equal(defaultThreads(system({ "/proc/self/status": "Cpus_allowed_list:\t0-3\n" })), 4);
  const packages = system({
    "/proc/self/status": "Cpus_allowed_list:\t0-1\n",
    "/sys/devices/system/cpu/cpu0/topology/core_id": "0",
    "/sys/devices/system/cpu/cpu0/topology/physical_package_id": "0",
    "/sys/devices/system/cpu/cpu1/topology/core_id": "0",
    "/sys/devices/system/cpu/cpu1/topology/physical_package_id": "1",
  });
  assert.equal(defaultThreads(packages), 2);
});

test("cgroup v2 quota: the least of the group and its ancestors", () => {
  const read = machine(8, "0-15", {
    "/proc/self/cgroup": "0::/a/b\n",
    "/sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/a/cpu.max": "250000 100000\n",
    "/sys/fs/cgroup/cpu.max": "400000 100000\n",
  });
  assert.equal(cpuQuota(read), 2.5);
  assert.equal(defaultThreads(read), 2);
});

test("cgroup v1 quota, also where only the container's own root is mounted", () => {
  const read = machine(8, "0-15", {
    "/proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n0::/\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
    "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
  });
  assert.equal(cpuQuota(read), 0.5);
  assert.equal(defaultThreads(read), 1);
  const unlimited = machine(4, "0-7", {
    "/proc/self/cgroup": "4:cpu:/\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
  });
  assert.equal(cpuQuota(unlimited), undefined);
  assert.equal(defaultThreads(unlimited), 4);
});

test("OMP_NUM_THREADS says how many, and what is no number says nothing", () => {
  const read = machine(8, "0-15");
  const wanted = (OMP_NUM_THREADS: string) => defaultThreadsOf(read, { OMP_NUM_THREADS });
  assert.deepEqual(["3", " 5 ", "4,2", "0", "", "many"].map(wanted), [3, 5, 4, 8, 8, 8]);
});

test("this machine", () => {
  const threads = defaultThreads();
  assert.ok(Number.isInteger(threads) && threads >= 1);
});

test("without Linux's files cores are what the addon counts, the fast ones where they are half or more", () => {
  const none = system({});
  const all = availableParallelism();
  const counted = (physicalCores: number, fastestCores: number) =>
    defaultThreadsOf(none, {}, () => ({ physicalCores, fastestCores }));
  assert.equal(counted(1, 1), 1);
  assert.equal(counted(12, 8), Math.min(8, all));
  assert.equal(counted(10, 2), Math.min(10, all));
  assert.equal(
    defaultThreadsOf(none, {}, () => undefined),
    all,
  );
});
