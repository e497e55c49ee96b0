/** One view of a running server: what it does at this moment, and what that costs. */
import { type Colour, coloured } from "../terminal/colour.js";
import { cut, padEnd } from "../terminal/columns.js";
import { formatBytes } from "../terminal/output.js";
import { printable } from "../terminal/printable.js";
import { duration } from "../terminal/progress.js";
import { type Cell, table } from "../terminal/table.js";
import { bar, ratesOf, sparkline } from "./rates.js";
import type { ServerFacts } from "./server-feed.js";
import type { SystemFigures } from "./system.js";

export interface ViewShape {
  readonly columns: number;
  readonly colours: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface Shown {
  readonly url: string;
  readonly facts: ServerFacts;
  readonly system: SystemFigures | undefined;
  /** Why nothing comes at the moment. */
  readonly trouble?: string | undefined;
}

/** Figures are means of so many samples, which come every half second. */
const meanSamples = 10;
const labelColumns = 9;
const valueColumns = 14;
const most = 60;

/** @returns lines, none longer than the terminal */
export function topView({ url, facts, system, trouble }: Shown, { columns, colours, now }: ViewShape): string[] {
  const { state, plan, memory, samples } = facts;
  const paint = (colour: Colour, text: string): string => coloured(colour, text, colours);
  const lines: string[] = [];
  const up = state === undefined ? "" : `, up ${duration(now - Date.parse(state.startedAt))}`;
  const title = `hundredweight top  ${printable(url)}${up}`;
  const keys = "q ends";
  const room = columns - keys.length - 2;
  lines.push(`${padEnd(cut(title, room), room)}  ${paint("dim", keys)}`);
  lines.push(paint("bold", cut(printable(modelLine(facts)), columns)), "");
  if (trouble !== undefined) lines.push(paint("red", cut(printable(trouble), columns)), "");

  const last = samples.at(-1);
  const rates = ratesOf(samples.slice(-meanSamples));
  const wide = Math.min(most, columns - labelColumns - valueColumns - 4);
  const line = (of: (sample: (typeof samples)[number]) => number): string => sparkline(samples.map(of), wide, 2);
  const rows: Cell[][] = [];
  const row = (label: string, value: string, remark: string, colour: Colour = "dim"): void => {
    rows.push([{ text: label, colour: "bold" }, value, { text: cut(remark, wide), colour }]);
  };
  row(
    "tokens",
    `${figures(rates.tokensPerSecond)}/s`,
    line((s) => s.generatedTokens / s.seconds),
    "cyan",
  );
  row(
    "prompt",
    `${figures(rates.promptPerSecond)}/s`,
    line((s) => (s.promptTokens - s.cachedTokens) / s.seconds),
    "cyan",
  );
  const diskLine = line((s) => (s.seen.passes === 0 ? 0 : (s.seen.diskBytes / s.seen.passes) * s.passes));
  row("disk", rateOf(rates.diskBytesPerSecond), diskLine, "orange");
  const stall = rates.stallShare ?? 0;
  row("waiting", percent(rates.stallShare), rates.stallShare === undefined ? "" : bar(stall, wide), stallColour(stall));
  const rowsEach = rates.rowsPerPass === undefined ? "" : `${figures(rates.rowsPerPass)} rows each`;
  const bytesEach = rates.bytesPerPass ? `, ${formatBytes(rates.bytesPerPass)} from the disk` : "";
  row("passes", `${figures(rates.passesPerSecond)}/s`, `${rowsEach}${bytesEach}`);
  if (last !== undefined) {
    row("answers", `${last.running} running`, `${last.waiting} in the queue`);
    const used = last.kvTokens === 0 ? 0 : last.kvTokensUsed / last.kvTokens;
    const tokens = `${last.kvTokensUsed.toLocaleString("en")} of ${last.kvTokens.toLocaleString("en")} tokens`;
    row("KV", percent(used), `${bar(used, Math.max(10, wide - tokens.length - 2))}  ${tokens}`, "green");
  }
  if (rates.expertHitShare !== undefined)
    row("experts", percent(rates.expertHitShare), `${bar(rates.expertHitShare, wide - 18)} found in slots`, "green");
  lines.push(...text(rows, colours));

  if (memory !== undefined) {
    const kinds: [string, number, string, Colour][] = [
      ["pinned", memory.pinnedBytes - memory.slotBytes, "", "green"],
      ["slots", memory.slotBytes, "of experts", "green"],
      ["ring", memory.ringBytes, "", "orange"],
      ["KV", memory.kvTouchedBytes, `of ${formatBytes(memory.kvBytes)}`, "dim"],
      ["activ.", memory.activationTouchedBytes, `of ${formatBytes(memory.activationBytes)}`, "dim"],
      ["server", memory.serverRssBytes, "its process alone", "dim"],
    ];
    const budget = plan?.budgetBytes ?? 0;
    const shown = kinds.filter(([, bytes]) => bytes > 0);
    lines.push("", paint("bold", budget > 0 ? `memory, budget ${formatBytes(budget)}` : "memory"));
    const share = (bytes: number): string => (budget > 0 ? bar(bytes / budget, 22) : "");
    const memoryRows = shown.map(([name, bytes, remark, colour]): Cell[] => {
      const about = `${share(bytes)}  ${remark}`.trimEnd();
      return [name, formatBytes(bytes), { text: cut(about, wide), colour }];
    });
    lines.push(...text(memoryRows, colours));
  }
  if (system !== undefined) lines.push("", ...systemLines(system, wide, colours));
  return lines;
}

function modelLine({ state, plan, samples }: ServerFacts): string {
  const model = state?.model;
  if (model === undefined) return samples.length === 0 ? "waiting for the server" : "a server without a page";
  if (model.state === "none") return "no model";
  if (model.state === "failed") return `${model.name}: ${model.error}`;
  if (model.state === "loading") {
    const mib = (bytes: number): number => Math.floor(bytes / 2 ** 20);
    const of = model.totalBytes > 0 ? ` ${mib(model.loadedBytes)} of ${mib(model.totalBytes)} MiB` : "";
    return `${model.name}: loading${of}`;
  }
  const { name, architecture, ops, contextTokens, kvType } = model.model;
  const how = plan === undefined ? "" : `, ${plan.strategy}, ${plan.io}`;
  const context = `context ${contextTokens.toLocaleString("en")} ${kvType}`;
  return `${name}  ${architecture}, ${ops}${how}, ${context}${state?.draining ? ", ending" : ""}`;
}

function systemLines(system: SystemFigures, wide: number, colours: boolean): string[] {
  const { machine } = system;
  const processes = system.pids.length === 1 ? "1 process" : `${system.pids.length} processes`;
  const rows: Cell[][] = [];
  const row = (label: string, value: string, remark: string): void => {
    rows.push([{ text: label, colour: "bold" }, value, { text: cut(remark, wide), colour: "dim" }]);
  };
  const kinds = [
    system.anonymousBytes !== undefined && `${formatBytes(system.anonymousBytes)} own`,
    system.fileBytes !== undefined && `${formatBytes(system.fileBytes)} of files`,
    system.lockedBytes !== undefined && system.lockedBytes > 0 && `${formatBytes(system.lockedBytes)} locked`,
  ].filter((kind) => kind !== false);
  row("resident", formatBytes(system.rssBytes), kinds.join(", "));
  const cpu = system.processors === undefined ? "" : `, ${figures(system.processors)} processors in use`;
  row("threads", `${system.busyThreads} busy`, `of ${system.threads} in ${processes}${cpu}`);
  if (system.diskBytesPerSecond !== undefined) row("reads", rateOf(system.diskBytesPerSecond), "as the system counts");
  if (system.majorFaultsPerSecond !== undefined)
    row("faults", `${figures(system.majorFaultsPerSecond)}/s`, "pages that were fetched from the disk");
  if (machine !== undefined) {
    const busy = machine.busyShare === undefined ? "" : `, ${percent(machine.busyShare)} busy`;
    row("machine", formatBytes(machine.cachedBytes), `page cache, ${formatBytes(machine.availableBytes)} free${busy}`);
  }
  return text(rows, colours);
}

const text = (rows: readonly (readonly Cell[])[], colours: boolean): string[] =>
  table([{ least: labelColumns }, { align: "right", least: valueColumns }, {}], rows, { colours })
    .trimEnd()
    .split("\n");

const percent = (share: number | undefined): string => (share === undefined ? "-" : `${Math.round(100 * share)} %`);
const rateOf = (bytes: number): string =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB/s` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB/s`;
const figures = (value: number): string => (value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));
/** The disk is the limit where passes wait for it most of the time. */
const stallColour = (share: number): Colour => (share > 0.5 ? "orange" : "green");
