/** Memory of a run as the JSON of `run` reports it. */
import { readFileSync } from "node:fs";
import type { MemoryReport } from "../../link/protocol.js";

export interface MemoryBefore {
  readonly rssBytes: number;
  readonly mappedBytes: number;
}

export interface MemoryDocument {
  readonly budgetBytes: number;
  readonly peakRssBytes: number;
  /** Weight bytes in memory: pinned and expert slots, or mapped pages that were touched. */
  readonly pinnedBytes: number;
  readonly ringBytes: number;
  readonly kvBytes: number;
  readonly activationBytes: number;
  /**
   * Peak RSS less the RSS before the load, the weights, the ring, and what has been touched of KV and activations. At
   * most 100 MB is the promise.
   */
  readonly unaccountedBytes: number;
}

/** To be taken before the model is opened. */
export function memoryBefore(): MemoryBefore {
  return { rssBytes: process.memoryUsage.rss(), mappedBytes: mappedResidentBytes() };
}

/**
 * @param weightFileBytes upper limit of what mapped pages can be weights, and the answer where the system tells
 *   nothing about them
 */
export function memoryDocument(
  before: MemoryBefore,
  report: MemoryReport,
  weightFileBytes: number,
  budgetBytes: number,
): MemoryDocument {
  // maxRSS is in KiB on every platform of Node.
  const peakRssBytes = process.resourceUsage().maxRSS * 1024;
  const mapped = mappedResidentBytes();
  const { kvBytes, activationBytes, ringBytes } = report;
  const held = report.pinnedBytes + ringBytes > 0;
  const mappedBytes =
    mapped < 0 ? weightFileBytes : Math.min(weightFileBytes, Math.max(0, mapped - before.mappedBytes));
  const pinnedBytes = held ? report.pinnedBytes : mappedBytes;
  const known = before.rssBytes + pinnedBytes + ringBytes + report.kvTouchedBytes + report.activationTouchedBytes;
  const unaccountedBytes = peakRssBytes - known;
  return { budgetBytes, peakRssBytes, pinnedBytes, ringBytes, kvBytes, activationBytes, unaccountedBytes };
}

/** Resident pages of mapped files; -1 where the system does not say (only Linux does). */
function mappedResidentBytes(): number {
  if (process.platform !== "linux") return -1;
  try {
    const kib = /^RssFile:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return kib === undefined ? -1 : Number(kib) * 1024;
  } catch {
    return -1;
  }
}
