/** Figures of Linux out of files of a real machine (test/golden/proc): a server and a child of it, and the machine. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { packageRoot } from "../../package-root.js";
import { listenerOf, machineFigures, parseDiskBytes, parseListener, parseStat, processTree } from "./proc.js";
import { SystemWatch } from "./system.js";

const goldens = join(packageRoot(), "test/golden/proc");
const golden = (name: string): string => readFileSync(join(goldens, name), "utf8");
const folder = mkdtempSync(join(tmpdir(), "hw-proc-"));
after(() => rmSync(folder, { recursive: true }));

const port = 8973;
const [server, child] = [19409, 19784];
const skip = process.platform === "win32" && "SKIPPED figures of Linux: links with such names cannot be made here";

/** A /proc with the two processes, one thread of the child at work, and one process of somebody else. */
function makeRoot(name: string): string {
  const root = join(folder, name);
  for (const pid of [server, child]) {
    mkdirSync(join(root, `${pid}`, "fd"), { recursive: true });
    for (const file of ["stat", "status", "io"]) cpSync(join(goldens, `${pid}-${file}`), join(root, `${pid}`, file));
  }
  symlinkSync("socket:[449258]", join(root, `${server}`, "fd", "21"));
  symlinkSync("/dev/null", join(root, `${server}`, "fd", "0"));
  for (const [thread, state] of [
    [child, "S"],
    [child + 1, "R"],
    [child + 2, "D"],
  ] as const) {
    mkdirSync(join(root, `${child}`, "task", `${thread}`), { recursive: true });
    writeFileSync(
      join(root, `${child}`, "task", `${thread}`, "stat"),
      golden(`${child}-stat`).replace(") S ", `) ${state} `),
    );
  }
  mkdirSync(join(root, "77"), { recursive: true });
  writeFileSync(join(root, "77", "stat"), "77 (a (strange) name) R 1 77 77 0 -1 0 0 0 5 0 100 20 0 0 20 0 4 0 1 2 3 4");
  mkdirSync(join(root, "net"));
  cpSync(join(goldens, "net-tcp"), join(root, "net", "tcp"));
  cpSync(join(goldens, "meminfo"), join(root, "meminfo"));
  cpSync(join(goldens, "cpu-stat"), join(root, "stat"));
  return root;
}

test("fields of stat stand behind the last bracket of the name", () => {
  assert.deepEqual(parseStat("77 (a (strange) name) R 1 77 77 0 -1 0 0 0 5 0 100 20 0 0 20 0 4 0 1 2 3 4"), {
    name: "a (strange) name",
    state: "R",
    parent: 1,
    majorFaults: 5,
    cpuMs: 1200,
    threads: 4,
    rssBytes: 3 * 4096,
  });
  const real = parseStat(golden(`${server}-stat`));
  assert.deepEqual(
    { ...real },
    { name: "node", state: "S", parent: 1, majorFaults: 1, cpuMs: 3340, threads: 11, rssBytes: 18376 * 4096 },
  );
  assert.ok(Number.isNaN(parseStat("").cpuMs));
});

test("a port leads to the socket that listens, not to its connections", () => {
  const table = golden("net-tcp");
  assert.equal(parseListener(table, port), "449258");
  // One end of a connection, and no port at all.
  assert.equal(parseListener(table, 0xc47a), undefined);
  assert.equal(parseListener("", port), undefined);
});

test("bytes from the disk; another user's are not to be read", () => {
  assert.equal(parseDiskBytes(golden(`${server}-io`)), 400470016);
  assert.equal(parseDiskBytes(""), undefined);
});

test("a server is found by its port, with its children, threads and memory by kind", { skip }, () => {
  const root = makeRoot("tree");
  assert.equal(listenerOf(port, root), server);
  assert.equal(listenerOf(port + 1, root), undefined);
  const [first, second, ...others] = processTree(server, root);
  assert.deepEqual(others, []);
  assert.deepEqual([first!.pid, second!.pid, second!.parent], [server, child, server]);
  assert.deepEqual([first!.threads, first!.busyThreads, second!.threads, second!.busyThreads], [11, 0, 8, 1]);
  assert.deepEqual(
    [second!.rssBytes, second!.anonymousBytes, second!.fileBytes, second!.lockedBytes, second!.diskBytes],
    [56960 * 1024, 11684 * 1024, 45276 * 1024, 0, 2097152],
  );
  assert.deepEqual(processTree(1, root), []);
  assert.deepEqual(processTree(server, join(root, "nothing")), []);
});

test("the machine: memory, page cache, processors; without /proc nothing", { skip }, () => {
  const machine = machineFigures(makeRoot("machine"))!;
  const meminfo = (name: string) => 1024 * Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(golden("meminfo"))![1]);
  assert.equal(machine.totalBytes, meminfo("MemTotal"));
  assert.equal(machine.cachedBytes, meminfo("Cached"));
  assert.equal(machine.availableBytes, meminfo("MemAvailable"));
  assert.equal(machine.processors, 2);
  assert.equal(machine.allMs - machine.busyMs, 10 * (88621 + 13897));
  assert.equal(machineFigures(join(folder, "nothing")), undefined);
});

test("rates are what was counted between two looks, of all its processes", { skip }, () => {
  const root = makeRoot("rates");
  const watch = new SystemWatch(port, root);
  const first = watch.look(1000)!;
  assert.deepEqual(
    [first.processors, first.diskBytesPerSecond, first.machine!.busyShare],
    [undefined, undefined, undefined],
  );
  const change = (file: string, from: string, to: string): void => {
    const path = join(root, file);
    const text = readFileSync(path, "utf8");
    assert.ok(text.includes(from), `${file}: ${from}`);
    writeFileSync(path, text.replace(from, to));
  };
  change(`${server}/io`, "read_bytes: 400470016", `read_bytes: ${400470016 + 3e9}`);
  change(`${child}/io`, "read_bytes: 2097152", `read_bytes: ${2097152 + 1e9}`);
  // 1.5 s of user and 1 s of system time, and 40 major faults, in two seconds.
  change(`${server}/stat`, " 150958 0 1 0 180 154 ", " 150958 0 41 0 330 254 ");
  change("stat", "cpu  768084 27353 88501 88621", "cpu  768384 27353 88501 88721");
  const second = watch.look(3000)!;
  assert.equal(second.diskBytesPerSecond, 2e9);
  assert.equal(second.processors, 1.25);
  assert.equal(second.majorFaultsPerSecond, 20);
  assert.equal(second.machine!.busyShare, 0.75);
  // It ended, and another one has the port.
  rmSync(join(root, `${server}`), { recursive: true });
  assert.equal(watch.look(4000), undefined);
});
