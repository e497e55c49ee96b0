/** `hundredweight doctor`: what this machine has and what to do about what it lacks. */
import { availableParallelism, cpus } from "node:os";
import type { Command } from "commander";
import { addonStatus } from "../../native/addon.js";
import { defaultThreads } from "../../native/threads.js";
import { packageRoot, packageVersion } from "../../package-root.js";
import { diskInfo } from "../../weights/disk-info.js";
import { memoryLimit } from "../../weights/memory-limit.js";
import { knownMachine, probeMachine } from "../../weights/probe.js";
import { busyNote, probeLines } from "../options/probe-first.js";
import { formatBytes, printJson, printText } from "../terminal/output.js";

export function register(program: Command): void {
  program
    .command("doctor")
    .description("Show what this machine offers: instruction sets, cores, memory and its limits, disk, native addon.")
    .argument("[path]", "where the models lie (default: the current folder)")
    .option("--probe", "measure how fast disk and memory are read, a few seconds, and remember it")
    .option("--json", "one JSON document on stdout")
    .action((path: string | undefined, flags: { probe?: boolean; json?: boolean }) => {
      const findings = examine(path ?? process.cwd(), flags.probe === true);
      const report: Report = { ...findings, advice: advise(findings) };
      if (flags.json) printJson(report);
      else printText(describe(report));
    });
}

type Findings = ReturnType<typeof examine>;
type Report = Findings & { readonly advice: readonly string[] };

const probeSeconds = 6;

function examine(path: string, probe: boolean) {
  const addon = addonStatus();
  const memory = memoryLimit();
  const disk = diskInfo(path);
  const busy = probe ? busyNote(defaultThreads()) : [];
  const probed = probe ? probeMachine({ path, refresh: true, seconds: probeSeconds }) : knownMachine({ path });
  return {
    version: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpu: {
      model: addon.cpu?.model ?? cpus()[0]?.model ?? "unknown",
      logicalCores: availableParallelism(),
      physicalCores: addon.cpu?.physicalCores ?? null,
      features: addon.cpu?.features ?? [],
    },
    addon: { state: addon.state, reason: addon.reason ?? null, isa: addon.isa ?? null, isas: addon.isas ?? [] },
    memory: { ...memory, cgroup: memory.cgroup ?? null },
    disk,
    /** Null: not measured yet. */
    measured: {
      disk: probed.disk ?? null,
      cpu: probed.cpu ?? null,
      profile: probed.profile,
      notes: [...probed.notes, ...busy],
    },
  };
}

function advise({ addon, memory, disk }: Findings): string[] {
  const advice: string[] = [];
  if (addon.state !== "loaded") {
    advice.push(
      `the native addon is not loaded (${addon.reason}): only the slow reference runs; ` +
        `install a C++17 compiler and run \`npm run build:native\` in ${packageRoot()}`,
    );
  }
  if (memory.budgetBytes < 2 ** 30)
    advice.push(`only ${formatBytes(memory.budgetBytes)} of memory are free for models`);
  if (disk.kind === "hdd" || disk.kind === "network") {
    advice.push(`models on this disk (${disk.kind}) will load slowly; a local SSD is worth it`);
  }
  return advice;
}

function describe(report: Report): string {
  const { cpu, addon, memory, disk, measured } = report;
  const limits = Object.entries({
    "address space": memory.process.addressSpaceBytes,
    data: memory.process.dataBytes,
    "locked memory": memory.process.lockedBytes,
  }).filter(([, bytes]) => bytes !== Infinity);
  const rates = probeLines({
    cpu: measured.cpu ?? undefined,
    disk: measured.disk ?? undefined,
    profile: measured.profile,
  });
  const lines = [
    `hundredweight ${report.version}, Node ${report.node}, ${report.platform}`,
    `cpu      ${cpu.model}; ${cpu.physicalCores ?? "?"} physical, ${cpu.logicalCores} logical cores`,
    `features ${cpu.features.join(" ") || "unknown"}`,
    `addon    ${addon.state}${
      addon.isa === null ? "" : `; uses ${addon.isa} (can: ` + `${addon.isas.join(", ")})`
    }${addon.reason === null ? "" : `; ${addon.reason}`}`,
    `memory   ${formatBytes(memory.totalBytes)}, ${formatBytes(memory.availableBytes)} available; budget ` +
      `for models ${formatBytes(memory.budgetBytes)}`,
    memory.cgroup === null
      ? "cgroup   no memory limit"
      : `cgroup   v${memory.cgroup.version} limit ${formatBytes(memory.cgroup.limitBytes)}, ` +
        `${formatBytes(memory.cgroup.usedBytes)} used`,
    `disk     ${disk.kind} (${disk.fileSystem ?? "?"} on ${disk.device ?? "?"}), ` +
      `${formatBytes(disk.freeBytes)} free of ${formatBytes(disk.totalBytes)}`,
    ...(limits.length === 0 ? [] : [`limits   ${limits.map(([n, b]) => `${n} ${formatBytes(b)}`).join(", ")}`]),
    ...(rates.length === 0 ? ["not measured yet: --probe"] : rates).map((line) => `rates    ${line}`),
    ...measured.notes.map((line) => `note     ${line}`),
    ...report.advice.map((line) => `advice   ${line}`),
  ];
  return `${lines.join("\n")}\n`;
}
