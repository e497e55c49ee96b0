/** Views of the command line at 80 and 120 columns; `scripts/write-terminal-views.mjs` writes them to files. */
import { join } from "node:path";
import { capabilities, capabilityRows, type System } from "../../src/cli/doctor/capabilities.js";
import { type GreetingFacts, greet } from "../../src/cli/greeting/greeting.js";
import { main } from "../../src/cli/main.js";
import { type ProfileRow, profileTable } from "../../src/cli/reports/plan-profile.js";
import { table } from "../../src/cli/terminal/table.js";
import { ServerFacts } from "../../src/cli/top/server-feed.js";
import type { SystemFigures } from "../../src/cli/top/system.js";
import { topView } from "../../src/cli/top/view.js";
import type { AddonStatus } from "../../src/native/addon.js";
import type { CpuInfo } from "../../src/native/addon.types.js";
import { packageRoot } from "../../src/package-root.js";
import type { PlanSummary, Sample } from "../../src/server/index.js";
import type { LocalModel } from "../../src/store/local/types.js";
import { memoryLimit } from "../../src/weights/memory-limit.js";
import { parseProfile } from "../../src/weights/profiles.js";

const gib = 2 ** 30;
const model = (repo: string, tag: string, bytes: number): LocalModel => ({
  repo,
  tag,
  aliases: [],
  place: "hugging-face",
  path: "/models/one.gguf",
  files: [],
  bytes,
  modifiedMs: 0,
});

export const known: GreetingFacts = {
  version: "0.1.0",
  machine: "8 threads, avx512 kernels, 27.2 GiB of memory for models, disk 3.4 GB/s",
  guessed: false,
  sizes: [
    () => ({ name: "8B", weightBytes: 4.6 * gib, strategy: "resident", secondsPerToken: 0.12, minimumBudgetBytes: 0 }),
    () => ({ name: "70B", weightBytes: 39.3 * gib, strategy: "streamed", secondsPerToken: 4.2, minimumBudgetBytes: 0 }),
    () => ({
      name: "120B, 5B a token",
      weightBytes: 67 * gib,
      strategy: "experts",
      secondsPerToken: 0.4,
      minimumBudgetBytes: 0,
    }),
    () => ({ name: "671B, 37B a token", weightBytes: 380 * gib, minimumBudgetBytes: 31 * gib }),
  ],
  line: async () => "And it came to pass in the days of the king, that the word was with him, and the people heard it.",
  models: () => [
    model("Qwen/Qwen3-8B-GGUF", "Q4_K_M", 4.7 * gib),
    model("\u30e2\u30c7\u30eb/\u5927\u304d\u306a\u8a00\u8a9e", "Q8_0", 12 * gib),
    model("an-organisation/a-model-with-a-name-that-is-longer-than-any-terminal-likes-to-show-it-GGUF", "Q6_K", gib),
    model("a", "F16", 1),
    model("b", "F16", 1),
    model("c", "F16", 1),
    model("d", "F16", 1),
  ],
};

const unknown: GreetingFacts = {
  ...known,
  machine: "2 threads, no native addon (build/native/hundredweight.node is missing), 3.1 GiB of memory for models",
  guessed: true,
  line: async () => undefined,
  models: () => [],
};

export async function greeting(facts: GreetingFacts, edge: number, colours = false): Promise<string> {
  let text = "";
  await greet(
    facts,
    (part) => {
      text += part;
    },
    { edge, colours },
  );
  return text;
}

/** Runs a command in this process as if both streams were a terminal of so many columns. */
async function view(columns: number, ...args: string[]): Promise<string> {
  let shown = "";
  const streams = [process.stdout, process.stderr];
  const kept = streams.map(({ write, isTTY, columns: before }) => ({ write, isTTY, columns: before }));
  const { FORCE_COLOR, NO_COLOR, HUNDREDWEIGHT_PROBE, HUNDREDWEIGHT_PREFIX_STORE } = process.env;
  Object.assign(process.env, { NO_COLOR: "1", HUNDREDWEIGHT_PROBE: "off" });
  delete process.env.FORCE_COLOR;
  // What a person sees who has set nothing; a plan on paper writes nothing there.
  delete process.env.HUNDREDWEIGHT_PREFIX_STORE;
  for (const [i, stream] of streams.entries()) {
    const write = ((chunk: string | Uint8Array, ...rest: never[]) => {
      // The test runner writes bytes.
      if (typeof chunk !== "string") return kept[i]!.write.call(stream, chunk, ...rest);
      shown += chunk;
      return true;
    }) as typeof stream.write;
    Object.assign(stream, { write, isTTY: true, columns });
  }
  try {
    await main(args);
  } finally {
    for (const [i, stream] of streams.entries()) Object.assign(stream, kept[i]);
    const before = { FORCE_COLOR, NO_COLOR, HUNDREDWEIGHT_PROBE, HUNDREDWEIGHT_PREFIX_STORE };
    for (const [name, value] of Object.entries(before))
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  }
  process.exitCode = 0;
  return shown.replaceAll(packageRoot(), ".");
}

const views: Readonly<Record<string, readonly string[]>> = {
  "help-list": ["list", "--help"],
  plan: ["plan", "llama-1b", "--profile", "7950x-64g", "--memory", "700MiB", "--kv", "f16"],
  inspect: ["inspect", join(packageRoot(), "models/demo.gguf"), "--tensors"],
  error: ["run", "llama3.2:no-such-model", "a prompt"],
};

const profile = parseProfile("7950x+rtx4080+64g");
const profileRowsShown: readonly ProfileRow[] = [
  {
    model: "qwen3-30b-a3b",
    quant: "Q4_K_M",
    weightBytes: 17.3 * gib,
    strategy: "resident",
    secondsPerToken: 0.0356,
    boundSecondsPerToken: 0.0019,
  },
  {
    model: "command-a",
    quant: "Q4_K_M",
    weightBytes: 62.5 * gib,
    strategy: "streamed",
    secondsPerToken: 1,
    boundSecondsPerToken: 0.588,
  },
  {
    model: "deepseek-v4-flash",
    quant: "MXFP4_MOE",
    weightBytes: 144.5 * gib,
    strategy: "experts",
    secondsPerToken: 0.333,
  },
  { model: "kimi-k2", quant: "Q4_K_M", weightBytes: 577.9 * gib, minimumBudgetBytes: 9 * gib },
];

const second = (index: number, streamed: boolean): Sample => {
  const tokens = streamed ? 1 + (index % 3) : 0;
  const seen = { passes: 1, rows: 3, diskBytes: 1.2e9, pinnedBytes: 4e9, stallMs: 320, computeMs: 110 };
  return {
    time: 500 * index,
    seconds: 0.5,
    running: 3,
    waiting: 2,
    kvTokensUsed: 1130,
    kvTokens: 4096,
    passes: streamed ? 1 : 0,
    generatedTokens: tokens,
    promptTokens: index < 6 ? 40 : 0,
    cachedTokens: 0,
    seen: streamed
      ? { ...seen, expertHits: 90, expertMisses: 6 }
      : { ...seen, passes: 0, rows: 0, diskBytes: 0, stallMs: 0, computeMs: 0, expertHits: 0, expertMisses: 0 },
  };
};

function served(): ServerFacts {
  const facts = new ServerFacts();
  const model = {
    name: "qwen3-30b-a3b-Q4_K_M",
    architecture: "qwen3moe",
    weightBytes: 17.3 * gib,
    contextTokens: 4096,
    trainedContextTokens: 40960,
    kvType: "f16",
    ops: "native/avx512",
    hasTemplate: true,
    sampling: {},
  };
  const state = { version: "0.1.0", startedAt: new Date(0).toISOString(), draining: false, hasFolder: false };
  facts.hear({ type: "state", state: { ...state, model: { state: "ready", model } } });
  facts.hear({ type: "history", samples: Array.from({ length: 40 }, (_, i) => second(i, true)) });
  facts.hear({ type: "sample", sample: second(40, true) });
  facts.plan = { strategy: "experts", io: "direct", budgetBytes: 8 * gib } as PlanSummary;
  facts.memory = {
    serverRssBytes: 90e6,
    kvBytes: 0.4 * gib,
    kvTouchedBytes: 0.11 * gib,
    activationBytes: 60e6,
    activationTouchedBytes: 41e6,
    pinnedBytes: 6.9 * gib,
    slotBytes: 5.2 * gib,
    ringBytes: 0.125 * gib,
    lockedBytes: 6.9 * gib,
  };
  return facts;
}

const system: SystemFigures = {
  pids: [1, 2, 3],
  rssBytes: 7.4 * gib,
  anonymousBytes: 7.2 * gib,
  fileBytes: 0.2 * gib,
  lockedBytes: 6.9 * gib,
  threads: 33,
  busyThreads: 2,
  processors: 1.7,
  diskBytesPerSecond: 2.38e9,
  majorFaultsPerSecond: 0,
  machine: {
    totalBytes: 16 * gib,
    availableBytes: 4 * gib,
    cachedBytes: 3 * gib,
    busyMs: 0,
    allMs: 1,
    processors: 4,
    busyShare: 0.43,
  },
};

function topOf(name: string, columns: number, colours = false): string {
  const url = "http://127.0.0.1:8471";
  const shape = { columns, colours, now: 723_000 };
  if (name === "top") return `${topView({ url, facts: served(), system }, shape).join("\n")}\n`;
  const facts = new ServerFacts();
  const loading = { state: "loading", name: "llama-70b-Q4_K_M", seconds: 9, restarting: false } as const;
  const bytes = { loadedBytes: 310 * 2 ** 20, totalBytes: 977 * 2 ** 20 };
  const state = { version: "0.1.0", startedAt: new Date(0).toISOString(), draining: false, hasFolder: false };
  facts.hear({ type: "state", state: { ...state, model: { ...loading, ...bytes } } });
  const trouble = "the server has ended; it is asked again";
  return `${topView({ url, facts, system: undefined, trouble }, shape).join("\n")}\n`;
}

/** The table of `doctor --capabilities` on a system: with an addon that finds so many cores, on Windows without one. */
function capabilitiesOn(system: System, columns: number): string {
  const cpu = { name: "eight", physicalCores: 8, fastestCores: 6, features: [] } as unknown as CpuInfo;
  const addon: AddonStatus =
    system === "windows"
      ? { state: "missing", path: undefined, reason: "not built" }
      : { state: "loaded", path: "a.node", isa: "neon", isas: ["scalar", "neon"], cpu };
  const memory = memoryLimit();
  const locked = { ...memory, process: { ...memory.process, lockedBytes: 8 * 2 ** 20 } };
  return table([{}, {}, { wrap: true }], capabilityRows(capabilities({ system, addon, memory: locked })), {
    edge: columns,
    colours: false,
  });
}

export const viewNames = [
  ...["greeting", "greeting-empty", "profile", "top", "top-loading", "capabilities-windows", "capabilities-macos"],
  ...Object.keys(views),
];

/** @returns what a terminal of so many columns shows, colours apart */
export function terminalView(name: string, columns: number): Promise<string> | string {
  if (name === "greeting") return greeting(known, columns);
  if (name === "capabilities-windows") return capabilitiesOn("windows", columns);
  if (name === "capabilities-macos") return capabilitiesOn("macos", columns);
  if (name === "greeting-empty") return greeting(unknown, columns);
  if (name === "profile") return profileTable(profile, profileRowsShown, { edge: columns });
  if (name.startsWith("top")) return topOf(name, columns);
  return view(columns, ...views[name]!);
}
