/**
 * Runs the command line as a process of its own: what is shipped (dist/app, few files) where HUNDREDWEIGHT_PROGRAMS
 * names it, as scripts/test.mjs does; else the built one from dist/src, or the sources through tsx when tests run so.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { within } from "./wait.js";

const here = import.meta.url;
const sources = here.endsWith(".ts");
const programs = sources ? undefined : process.env.HUNDREDWEIGHT_PROGRAMS;
const entry =
  programs === undefined
    ? new URL(`../../src/cli/start.${sources ? "ts" : "js"}`, here)
    : pathToFileURL(join(programs, "cli/start.js"));
const program =
  `import(${JSON.stringify(entry.href)}).then(async (m) => { process.exitCode = await ` +
  `m.start(process.argv.slice(2)); })`;

export interface Finished {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
}

/** @param env more than what this process has */
export function startCli(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return start(cliCommand(args), env);
}

/** @param script what a shell does around the command line, which is its `"$@"` */
export function startCliIn(script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return start(["sh", "-c", script, "sh", ...cliCommand(args)], env);
}

function cliCommand(args: readonly string[]): string[] {
  const loader = sources ? ["--import", "tsx"] : [];
  // A first word of our own: node takes `inspect` for one of its.
  return [process.execPath, ...loader, "-e", program, "--", "hundredweight", ...args];
}

function start([file, ...args]: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(file!, args, {
    cwd: fileURLToPath(new URL(sources ? "../.." : "../../..", here)),
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
}

/**
 * All that a process says, and how it ended.
 * @throws Error when it does not end, or something that it started holds its streams
 */
export async function finish(child: ChildProcess): Promise<Finished> {
  let out = "";
  let err = "";
  child.stdout?.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    err += chunk;
  });
  const closed = new Promise<[number | null, string | null]>((resolve) => {
    child.on("close", (c, s) => resolve([c, s]));
  });
  const seen = (): string => `exit code ${child.exitCode}, ${out.slice(-1000)}${err.slice(-2000)}`;
  const [code, signal] = await within(closed, `the end of ${child.spawnargs.join(" ")}`, seen).catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });
  // Without a compiler the commands work all the same, and say so once.
  return { code, signal, out, err: err.replace(/^warning: the native addon [^\n]*\n/, "") };
}

export async function runCli(args: readonly string[], input = "", env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  const child = startCli(args, env);
  child.stdin?.end(input);
  return finish(child);
}
