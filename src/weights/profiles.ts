/**
 * Machines one does not sit at: their nominal figures. A plan for one of them is arithmetic, and its times are bounds
 * from below: no machine reads memory as fast as its data sheet says.
 */
import { HundredweightError } from "../errors.js";
import type { MachineProfile } from "./machine.js";

const GB = 1e9;
const GiB = 2 ** 30;

interface Processor {
  readonly name: string;
  /** Cores that compute. */
  readonly cores: number;
  readonly memoryBytesPerSecond: number;
  /** 8-bit products of many rows, two operations a multiply-add. */
  readonly gemmOpsPerSecond: number;
  readonly diskBytesPerSecond: number;
  readonly usualGibibytes: number;
  /** More is not sold. */
  readonly mostGibibytes: number;
}

export interface Accelerator {
  readonly name: string;
  readonly memoryBytes: number;
  readonly memoryBytesPerSecond: number;
  /** Over the bus, one way, as copies reach it. */
  readonly busBytesPerSecond: number;
  /** Why no language model runs on it. */
  readonly tooSmall?: string;
}

/** A product of 8-bit numbers on a core: what Zen 4 was measured to do; cores without AVX-512 do half. */
const wideCore = 95 * GB;
const narrowCore = 45 * GB;

/** Nominal figures (channels times rate; disks: PCIe 4.0 x4, Apple's own), neither measured nor looked up again. */
const processors: Readonly<Record<string, Processor>> = {
  "7950x": {
    ...{ name: "Ryzen 9 7950X", cores: 16, memoryBytesPerSecond: 83.2 * GB, gemmOpsPerSecond: 16 * wideCore },
    ...{ diskBytesPerSecond: 7 * GB, usualGibibytes: 64, mostGibibytes: 192 },
  },
  "7700x": {
    ...{ name: "Ryzen 7 7700X", cores: 8, memoryBytesPerSecond: 83.2 * GB, gemmOpsPerSecond: 8 * wideCore },
    ...{ diskBytesPerSecond: 7 * GB, usualGibibytes: 32, mostGibibytes: 192 },
  },
  "9950x": {
    ...{ name: "Ryzen 9 9950X", cores: 16, memoryBytesPerSecond: 89.6 * GB, gemmOpsPerSecond: 16 * wideCore },
    ...{ diskBytesPerSecond: 7 * GB, usualGibibytes: 64, mostGibibytes: 192 },
  },
  // Eight fast cores and sixteen small ones.
  "13900k": {
    ...{ name: "Core i9-13900K", cores: 24, memoryBytesPerSecond: 89.6 * GB, gemmOpsPerSecond: 16 * narrowCore },
    ...{ diskBytesPerSecond: 7 * GB, usualGibibytes: 64, mostGibibytes: 192 },
  },
  m2max: {
    ...{ name: "M2 Max", cores: 12, memoryBytesPerSecond: 400 * GB, gemmOpsPerSecond: 12 * narrowCore },
    ...{ diskBytesPerSecond: 6 * GB, usualGibibytes: 32, mostGibibytes: 96 },
  },
  m2ultra: {
    ...{ name: "M2 Ultra", cores: 24, memoryBytesPerSecond: 800 * GB, gemmOpsPerSecond: 24 * narrowCore },
    ...{ diskBytesPerSecond: 6 * GB, usualGibibytes: 64, mostGibibytes: 192 },
  },
  /** A desktop of eight cores with two channels of DDR5, as accelerators are put into. */
  desktop: {
    ...{ name: "a desktop with two channels of DDR5", cores: 8, memoryBytesPerSecond: 80 * GB },
    ...{ gemmOpsPerSecond: 8 * narrowCore, diskBytesPerSecond: 7 * GB, usualGibibytes: 64, mostGibibytes: 256 },
  },
};

const bus4 = 25 * GB;
/** Nominal figures, not measured; what copies reach of PCIe 4.0 x16 and 5.0 x16: four fifths, assumed. */
const accelerators: Readonly<Record<string, Accelerator>> = {
  rtx4090: { name: "RTX 4090", memoryBytes: 24 * GiB, memoryBytesPerSecond: 1008 * GB, busBytesPerSecond: bus4 },
  rtx4080: { name: "RTX 4080", memoryBytes: 16 * GiB, memoryBytesPerSecond: 716.8 * GB, busBytesPerSecond: bus4 },
  rtx3090: { name: "RTX 3090", memoryBytes: 24 * GiB, memoryBytesPerSecond: 936 * GB, busBytesPerSecond: bus4 },
  rtx5090: { name: "RTX 5090", memoryBytes: 32 * GiB, memoryBytesPerSecond: 1792 * GB, busBytesPerSecond: 50 * GB },
  rx7900xt: { name: "RX 7900 XT", memoryBytes: 20 * GiB, memoryBytesPerSecond: 800 * GB, busBytesPerSecond: bus4 },
  coral: {
    ...{ name: "Coral Edge TPU", memoryBytes: 8 * 2 ** 20, memoryBytesPerSecond: 0, busBytesPerSecond: 0.4 * GB },
    tooSmall: "it has 8 MiB of memory and runs small 8-bit networks of TensorFlow Lite only: the processor does it all",
  },
  ncs2: {
    ...{ name: "Neural Compute Stick 2", memoryBytes: 512 * 2 ** 20, memoryBytesPerSecond: 0 },
    busBytesPerSecond: 0.4 * GB,
    tooSmall: "it has 512 MiB of memory behind USB, less than any language model's layers: the processor does it all",
  },
};

const aliases: Readonly<Record<string, string>> = {
  "i9-13900k": "13900k",
  "7900xt": "rx7900xt",
  "4090": "rtx4090",
  "4080": "rtx4080",
  "3090": "rtx3090",
  "5090": "rtx5090",
  ryzen7950x: "7950x",
};

export const profileNames: readonly string[] = [...Object.keys(processors), ...Object.keys(accelerators)].filter(
  (name) => name !== "desktop",
);

export const profileExamples = "rtx4090+128g, m2max-32g, 7950x-64g";

export interface HardwareProfile {
  /** As it was asked for. */
  readonly word: string;
  readonly description: string;
  readonly machine: MachineProfile;
  readonly accelerator: Accelerator | undefined;
  readonly notes: readonly string[];
}

/** The system and other programs keep a tenth of the memory, at least 2 GiB. */
const keptShare = 0.1;
const keptLeast = 2 * GiB;

/**
 * `rtx4090+128g`, `m2max-32g`, `7950x-64g`, `7950x+rtx4090+64g`: parts, and gibibytes of memory.
 * @throws OPTION_INVALID
 */
export function parseProfile(word: string): HardwareProfile {
  const wrong = (what: string) =>
    new HundredweightError(
      "OPTION_INVALID",
      `--profile: '${word.slice(0, 60)}': ${what}; write like rtx4090+128g, m2max-32g or 7950x+rtx4090+64g, of ` +
        profileNames.join(", "),
    );
  let rest = word.trim().toLowerCase();
  const [ending, size] = /[-+](\d{1,4})\s*(?:g|gb|gib)$/.exec(rest) ?? [];
  if (ending !== undefined) rest = rest.slice(0, -ending.length);
  let processor: Processor | undefined;
  let accelerator: Accelerator | undefined;
  for (const part of rest.split("+")) {
    const name = aliases[part] ?? part;
    const found = { processor: processors[name], accelerator: accelerators[name] };
    if (found.processor === undefined && found.accelerator === undefined) throw wrong(`'${part}' is not known`);
    if ((found.processor && processor) || (found.accelerator && accelerator)) throw wrong("two of a kind");
    processor ??= found.processor;
    accelerator ??= found.accelerator;
  }
  processor ??= processors.desktop!;
  const gibibytes = size === undefined ? processor.usualGibibytes : Number(size);
  if (gibibytes < 4) throw wrong(`${gibibytes} GiB of memory are too few`);
  const notes = ["times are bounds from data sheets: a real machine is slower"];
  if (gibibytes > processor.mostGibibytes)
    notes.push(`${processor.name} has at most ${processor.mostGibibytes} GiB of memory`);
  if (accelerator?.tooSmall !== undefined) notes.push(`${accelerator.name}: ${accelerator.tooSmall}`);
  const memoryLimitBytes = gibibytes * GiB;
  const description = `${processor.name}, ${gibibytes} GiB${accelerator === undefined ? "" : `, ${accelerator.name}`}`;
  const machine: MachineProfile = {
    memoryLimitBytes,
    availableBytes: Math.floor(memoryLimitBytes - Math.max(keptLeast, keptShare * memoryLimitBytes)),
    memoryReadBytesPerSecond: processor.memoryBytesPerSecond,
    diskReadBytesPerSecond: processor.diskBytesPerSecond,
    diskFirstTouchBytesPerSecond: processor.diskBytesPerSecond,
    gemmOpsPerSecond: processor.gemmOpsPerSecond,
    threads: processor.cores,
  };
  return { word, description, machine, accelerator, notes };
}
