/** The best rates of this machine, from the programs of native/bench; they are there after a build with --tests. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../../package-root.js";

export interface Ceilings {
  readonly threads: number;
  /**
   * Plain loads from memory far larger than the caches, best of several prefetch distances; undefined = not measured.
   */
  readonly memoryGBps: number | undefined;
  /** Multiply, multiply-add, add of 8-bit products; two operations per multiply-add. */
  readonly int8Gops: number | undefined;
  /** Eight products summed in 16 bits before they are widened. */
  readonly int8SixteenBitGops: number | undefined;
  /** AVX-512 VNNI. */
  readonly int8DotGops: number | undefined;
  readonly fmaGflops: number | undefined;
}

interface Line {
  readonly ceiling?: string;
  readonly gops?: number;
  readonly what?: string;
  readonly GBps?: number;
}

/** Takes two to three seconds. Undefined where the programs were not built. */
export async function measureCeilings(threads: number): Promise<Ceilings | undefined> {
  const folder = join(packageRoot(), "build", "native");
  const [arithmetic, memory] = ["ceilings", "bench_kernels"].map((name) => join(folder, name)) as [string, string];
  if (!existsSync(arithmetic) || !existsSync(memory)) return undefined;
  const lines = [
    ...(await run(arithmetic, [`${threads}`])),
    // No type is called so: it stops after the loads.
    ...(await run(memory, ["--mb", "256", "--threads", `${threads}`, "--type", "none"])),
  ];
  const gops = (...names: readonly string[]): number | undefined => {
    const found = lines.filter((line) => names.includes(line.ceiling ?? "")).map((line) => line.gops ?? 0);
    return found.length === 0 ? undefined : Math.max(...found) || undefined;
  };
  return {
    threads,
    memoryGBps: lines.find((line) => line.what === "read")?.GBps,
    int8Gops: gops("maddubs_madd_add_256"),
    int8SixteenBitGops: gops("maddubs_add16_256"),
    int8DotGops: gops("dpbusd_512"),
    fmaGflops: gops("fma_256", "fma_512"),
  };
}

async function run(program: string, args: readonly string[]): Promise<Line[]> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout: 30_000 });
    return stdout
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Line);
  } catch {
    return []; // built for another machine, or killed: the ceiling stays unknown
  }
}
