/** Where an engine can live: in this thread, in a thread of its own, in a process of its own. */
import { type ChildProcess, fork } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { MessageChannel, Worker } from "node:worker_threads";
import { HundredweightError } from "../errors.js";
import { childEnvironment } from "../process/child-environment.js";
import { inheritedOptions } from "../process/exec-options.js";
import { programUrl } from "../process/programs.js";
import type { FromEngine, ToEngine } from "./protocol.js";
import type { OpenParts } from "./serve.js";

/** Messages to an engine and from it. */
export interface Transport {
  /** Id of the engine's own process. */
  readonly pid?: number | undefined;
  post(message: ToEngine): void;
  onMessage(listener: (message: FromEngine) => void): void;
  /** Called once, when the place of the engine is gone: for whatever reason, also after `closed`. */
  onGone(listener: (error: HundredweightError) => void): void;
  /** Whether the engine keeps this process alive. */
  hold(alive: boolean): void;
  /** The engine said `closed`. */
  closed(): void;
}

/** The engine's code is loaded here only: a thread that merely talks to an engine does without it. */
export async function startHere(openParts: OpenParts): Promise<Transport> {
  const [{ serveEngine }, { portOf }] = await Promise.all([import("./serve.js"), import("./ports.js")]);
  const { port1, port2 } = new MessageChannel();
  serveEngine(portOf(port2), openParts);
  let gone: (error: HundredweightError) => void = () => {};
  return {
    post: (message) => port1.postMessage(message),
    onMessage: (listener) => {
      port1.on("message", listener);
    },
    onGone: (listener) => {
      gone = listener;
    },
    hold: (alive) => (alive ? port1.ref() : port1.unref()),
    closed: () => {
      port1.close();
      gone(new HundredweightError("ENGINE_CLOSED", "the model is closed"));
    },
  };
}

/**
 * Reading a vocabulary makes much garbage, a token hardly any: with the default of three times 16 MiB the young
 * generation alone took 40 MB of what a model may use beyond its plan.
 */
const resourceLimits = { maxYoungGenerationSizeMb: 8 };

/** A thread that was started before anybody knew which model it will open. */
let spare: Worker | undefined;

/** Starts the thread of the next engine, which loads its code meanwhile. It keeps nobody alive. */
export function prewarm(): void {
  const url = programUrl("link/worker");
  if (spare !== undefined || url.href.endsWith(".ts")) return;
  spare = new Worker(url, { resourceLimits });
  spare.unref();
}

/** @internal What the engine's thread is told when it is started. */
export interface WorkerData {
  /** The process is the engine's alone: its garbage is collected when no job comes for some seconds. */
  readonly collects: boolean;
}

/**
 * TypeScript sources that run without a build have no thread of their own: a loader of theirs does not reach into it.
 */
export async function startWorker(data?: WorkerData): Promise<Transport> {
  const url = programUrl("link/worker");
  if (url.href.endsWith(".js")) {
    const worker = spare ?? new Worker(url, { resourceLimits, workerData: data });
    spare = undefined;
    worker.ref();
    return overWorker(worker);
  }
  const { openParts } = await import("../engine/open.js");
  return startHere(openParts);
}

function overWorker(worker: Worker): Transport {
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => {
      worker.on("message", listener);
    },
    onGone: (listener) => {
      worker.on("error", (error) => listener(internal(`the engine thread failed: ${error.message}`)));
      worker.on("exit", (code) => listener(internal(`the engine thread ended with code ${code}`)));
    },
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    closed: () => {}, // "exit" follows
  };
}

/** A fault of its code, or the system's answer to too little memory, ends this process's jobs and nothing else. */
export function startProcess(): Transport {
  const child = fork(fileURLToPath(programUrl("link/process")), [], {
    serialization: "advanced",
    execArgv: inheritedOptions(process.execArgv),
    env: childEnvironment(),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  return {
    pid: child.pid,
    post: (message) => {
      // Shared memory does not cross processes: the other side has its own.
      const sent = message.type === "open" ? { ...message, stop: new Int32Array(0) } : message;
      if (child.connected) child.send(sent, () => {}); // a failure to send is followed by "exit"
    },
    onMessage: (listener) => {
      child.on("message", (message) => listener(message as FromEngine));
    },
    onGone: (listener) => {
      child.once("error", (error) => listener(crashed(`the engine's process failed: ${error.message}`, {})));
      child.once("exit", (code, signal) => listener(endOf(child, code, signal)));
    },
    hold: (alive) => {
      if (alive) child.ref();
      else child.unref();
      if (alive) child.channel?.ref();
      else child.channel?.unref();
    },
    closed: () => {}, // "exit" follows
  };
}

function endOf({ pid }: ChildProcess, code: number | null, signal: NodeJS.Signals | null): HundredweightError {
  const details = { pid, code, signal };
  if (signal === null) return crashed(`the engine's process ended with code ${code}`, details);
  const hint =
    signal === "SIGKILL"
      ? ": the system does that when memory runs out; a smaller --memory leaves more to others"
      : ["SIGSEGV", "SIGBUS", "SIGILL", "SIGABRT", "SIGFPE"].includes(signal)
        ? ": a fault of the engine, please report it"
        : "";
  return crashed(`the engine's process was ended by ${signal} (${constants.signals[signal]})${hint}`, details);
}

function crashed(message: string, details: Record<string, unknown>): HundredweightError {
  return new HundredweightError("ENGINE_CRASHED", message, details);
}

function internal(message: string): HundredweightError {
  return new HundredweightError("INTERNAL", message);
}
