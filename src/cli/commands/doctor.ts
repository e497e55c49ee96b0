/**
 * `hundredweight doctor`: what this machine has and what to do about what it lacks; `doctor MODEL` looks a model over.
 */
import { existsSync, statSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { addonStatus } from "../../native/addon.js";
import { defaultThreads } from "../../native/threads.js";
import { packageRoot, packageVersion } from "../../package-root.js";
import { modelFile } from "../../store/model-word.js";
import { diskInfo } from "../../weights/disk-info.js";
import { memoryLimit } from "../../weights/memory-limit.js";
import { knownMachine, probeMachine } from "../../weights/probe.js";
import { capabilities, capabilityRows } from "../doctor/capabilities.js";
import type { Finding } from "../doctor/model-checks.js";
import { type Symptom, symptoms } from "../doctor/symptoms.js";
import { parseBytes } from "../options/options.js";
import { busyNote, probeLines } from "../options/probe-first.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printColoured, printJson, prose, standardOutput } from "../terminal/output.js";
import { printable } from "../terminal/printable.js";
import { Progress } from "../terminal/progress.js";
import { type Cell, table } from "../terminal/table.js";

export function register(program: Command): void {
  program
    .command("doctor")
    .description("Show what this machine offers, or look a model over from its container to its first tokens.")
    .argument("[model]", "a model to look over; or a folder where models lie (default: the current one)")
    .option("--capabilities", "what works on this system, and by what means; no model")
    .option("--probe", "measure how fast disk and memory are read, a few seconds, and remember it")
    .option("--no-read", "of a model: do not read its weights")
    .option("--run", "of a model: evaluate some tokens and look at every number, also of a large one")
    .option("--memory <size>", "of a model: the memory budget (default: what is free)", (t) =>
      parseBytes(t, "--memory"),
    )
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action(async (word: string | undefined, flags: DoctorFlags) => {
      if (flags.capabilities) {
        const found = capabilities();
        if (flags.json) printJson({ platform: `${process.platform}-${process.arch}`, capabilities: found });
        else printColoured(table([{}, {}, { wrap: true }], capabilityRows(found), standardOutput()));
        return;
      }
      if (word !== undefined && !isFolderOfModels(word)) return lookOver(modelFile(word), flags);
      const findings = examine(word ?? process.cwd(), flags.probe === true);
      const report: Report = { ...findings, advice: advise(findings) };
      if (flags.json) printJson(report);
      else printColoured(describe(report));
    });
}

interface DoctorFlags {
  readonly capabilities?: boolean;
  readonly probe?: boolean;
  readonly read?: boolean;
  readonly run?: boolean;
  readonly memory?: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

/** A folder that is no model itself. */
function isFolderOfModels(path: string): boolean {
  const folder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  return folder && !/\.mlpackage\/?$/i.test(path) && !existsSync(join(path, "config.json"));
}

/** Exit code 1 when something is wrong. */
async function lookOver(path: string, flags: DoctorFlags): Promise<void> {
  const { checkModel } = await import("../doctor/model-checks.js");
  const progress = new Progress("reading", { forced: flags.progress, bytes: true });
  const findings = await withInterrupt((signal) =>
    checkModel(path, {
      signal,
      read: flags.read !== false,
      run: flags.run === true ? true : undefined,
      memoryBytes: flags.memory,
      onProgress: (done, total) => progress.update(done, total),
    }),
  ).finally(() => progress.end());
  if (findings.some(({ state }) => state === "fault")) process.exitCode = 1;
  const named = [...new Set(findings.flatMap(({ symptom }) => (symptom === undefined ? [] : [symptom])))];
  const answers = named.map((name) => ({ name, ...symptoms[name] }));
  if (flags.json) printJson({ path, findings, symptoms: answers });
  else printColoured(findingsText(path, findings, answers));
}

const marks = { ok: "ok", warning: "note", fault: "WRONG" } as const;
const markColours = { ok: "green", warning: "orange", fault: "red" } as const;

function findingsText(path: string, findings: readonly Finding[], answers: readonly Symptom[]): string {
  const shape = standardOutput();
  const rows = findings.map(({ check, state, text }) => [
    { text: marks[state], colour: markColours[state] },
    check,
    text.replace(/\s*\n\s*/g, " "),
  ]);
  const checks = table([{ least: 5 }, {}, { wrap: true }], rows, shape);
  const answered = answers.map(({ words, cause, remedy }) => {
    const reasons = table(
      [{ least: 4 }, { wrap: true }],
      [
        ["why", cause],
        ["do", remedy],
      ],
      { indent: 2, ...shape },
    );
    return `\n${prose(words)}\n${reasons}`;
  });
  return `${printable(path)}\n${checks}${answered.join("")}`;
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
  const rows: [string, Cell][] = [
    ["cpu", `${cpu.model}; ${cpu.physicalCores ?? "?"} physical, ${cpu.logicalCores} logical cores`],
    ["features", cpu.features.join(" ") || "unknown"],
    [
      "addon",
      `${addon.state}${
        addon.isa === null ? "" : `; uses ${addon.isa} (can: ${addon.isas.join(", ")})`
      }${addon.reason === null ? "" : `; ${addon.reason}`}`,
    ],
    [
      "memory",
      `${formatBytes(memory.totalBytes)}, ${formatBytes(memory.availableBytes)} available; budget ` +
        `for models ${formatBytes(memory.budgetBytes)}`,
    ],
    ...(memory.commit === undefined
      ? []
      : [
          ["commit", `${formatBytes(memory.commit.usedBytes)} of ${formatBytes(memory.commit.limitBytes)}`] as [
            string,
            Cell,
          ],
        ]),
    ...(memory.job === undefined ? [] : [["job", `limit ${formatBytes(memory.job.limitBytes)}`] as [string, Cell]]),
    [
      "cgroup",
      memory.cgroup === null
        ? "no memory limit"
        : `v${memory.cgroup.version} limit ${formatBytes(memory.cgroup.limitBytes)}, ` +
          `${formatBytes(memory.cgroup.usedBytes)} used`,
    ],
    [
      "disk",
      `${disk.kind} (${disk.fileSystem ?? "?"} on ${disk.device ?? "?"}), ` +
        `${formatBytes(disk.freeBytes)} free of ${formatBytes(disk.totalBytes)}`,
    ],
    ...(limits.length === 0
      ? []
      : [["limits", limits.map(([n, b]) => `${n} ${formatBytes(b)}`).join(", ")] as [string, Cell]]),
    ...(rates.length === 0 ? ["not measured yet: --probe"] : rates).map((line): [string, Cell] => ["rates", line]),
    ...measured.notes.map((line): [string, Cell] => ["note", { text: line, colour: "dim" }]),
    ...report.advice.map((line): [string, Cell] => ["advice", { text: line, colour: "orange" }]),
  ];
  const head = `hundredweight ${report.version}, Node ${report.node}, ${report.platform}\n`;
  return head + table([{}, { wrap: true }], rows, standardOutput());
}
