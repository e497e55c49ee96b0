/** Programs of others that a fleet stands on: a test that cannot find one is skipped, and says so aloud. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { exited } from "./wait.js";

/** False: it is there. A text says why tests are skipped. */
export function missing(program: string, version = "--version"): string | false {
  const found = spawnSync(program, [version], { stdio: "ignore" });
  if (found.error === undefined) return false;
  return `SKIPPED ALOUD: ${program} is not installed (Debian's package has its name)`;
}

/**
 * A port that stays free until its owner listens, also while a killed owner is not back yet: below those that systems
 * hand out by themselves (from 32768 on Linux, from 49152 elsewhere), so neither a listener at port 0 nor the near end
 * of somebody's connection can get it.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(12_000, 32_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error("no port of a hundred is free");
}

/** Waits until somebody listens. */
export async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });
    if (open) return;
    await sleep(25);
  }
  throw new Error(`nobody listens on ${port}`);
}

/** A program that is ended with the tests. */
export class Service {
  readonly #command: readonly string[];
  readonly #port: number;
  #child: ChildProcess | undefined;
  output = "";

  constructor(port: number, command: readonly string[]) {
    this.#port = port;
    this.#command = command;
  }

  async start(): Promise<void> {
    const [file, ...args] = this.#command;
    this.#child = spawn(file!, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (chunk) => {
        this.output += chunk;
      });
    await listening(this.#port);
  }

  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    child?.kill(signal);
    if (child !== undefined) await exited(child);
  }
}

/** @param more words of its command line */
export async function redisServer(folder: string, ...more: string[]): Promise<{ port: number; service: Service }> {
  const port = await freePort();
  const words = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, ...more];
  const service = new Service(port, ["redis-server", ...words]);
  await service.start();
  return { port, service };
}
