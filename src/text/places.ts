/** Where texts can be handled: in a thread of this process, or in a process of their own. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { childEnvironment } from "../process/child-environment.js";
import { inheritedOptions } from "../process/exec-options.js";
import { collectYoung } from "../process/idle.js";
import { processorMs } from "../process/proc-stat.js";
import { programUrl } from "../process/programs.js";
import { bytesOf } from "./limits.js";
import type { FromText, ToText } from "./protocol.js";

export type TextPlaceKind = "thread" | "process";

/** Why a place is gone that nobody ended. */
export interface Gone {
  /** The output of a template or a text outgrew the memory it may take. */
  readonly memory: boolean;
  readonly message: string;
}

export interface TextPlace {
  /** The id of the place's process, when it is one. */
  readonly pid: number | undefined;
  /** Milliseconds it has computed; undefined where nobody says. */
  processorMs(): number | undefined;
  post(message: ToText): void;
  onMessage(listener: (message: FromText) => void): void;
  /** Called once, also after `end`. */
  onGone(listener: (why: Gone) => void): void;
  /** Whether it keeps this process alive. */
  hold(alive: boolean): void;
  /** At once, whatever it does. */
  end(): void;
}

/**
 * Old generation. Vocabularies lie outside the heap; a text of 8 MiB is held some ten times while a template reads it.
 */
export const heapMb = 160;
/** MiB of the young generation: three times that is held, more would only make collections rarer. */
const youngMb = 4;

/** From here on what a message leaves behind is not left for later. */
const largeBytes = 2 ** 20;

/** Nothing else of this process's environment is a template's or a text's business. */
const passedOn = new RegExp(
  "^(PATH|HOME|LANG|LC_.*|TZ|TMPDIR|TEMP|TMP|SystemRoot|SystemDrive|windir|USERPROFILE|NODE_.*|TSX_.*|" +
    "HUNDREDWEIGHT_(DEBUG|MARKS))$",
  process.platform === "win32" ? "i" : "", // Windows writes Path, or PATH
);

const alive = new Set<TextPlace>();
let watchingExit = false;

export function startPlace(kind: TextPlaceKind): TextPlace {
  const place = kind === "process" ? startProcess() : startThread();
  place.hold(true);
  return place;
}

function startProcess(): TextPlace {
  const debugging = process.env.HUNDREDWEIGHT_DEBUG !== undefined;
  const child = fork(fileURLToPath(programUrl("text/process")), [], {
    serialization: "advanced",
    execArgv: [
      ...inheritedOptions(process.execArgv).filter((option) => !/^--(max-(old|semi)|expose)/.test(option)),
      `--max-old-space-size=${heapMb}`,
      `--max-semi-space-size=${youngMb}`,
      "--v8-pool-size=1",
    ],
    env: Object.fromEntries(Object.entries(childEnvironment()).filter(([name]) => passedOn.test(name))),
    // V8 prints a page when it runs out of memory; whoever asked gets a line.
    stdio: ["ignore", "ignore", debugging ? "inherit" : "ignore", "ipc"],
  });
  // Templates still run when this process ends without saying goodbye: they are broken off at once.
  if (!watchingExit) {
    watchingExit = true;
    process.on("exit", () => {
      for (const place of alive) place.end();
    });
  }
  const place: TextPlace = {
    pid: child.pid,
    processorMs: () => processorMs(child.pid),
    post: (message) => {
      if (!child.connected) return;
      child.send(message, () => {}); // a failure to send is followed by "exit"
      // It was written twice over on its way.
      if (message.type === "do" && bytesOf(message.request) >= largeBytes) collectYoung();
    },
    onMessage: (listener) => {
      child.on("message", (message) => listener(message as FromText));
    },
    onGone: (listener) => {
      child.once("error", (error) => listener({ memory: false, message: error.message }));
      child.once("exit", (code, signal) => listener(endOf(code, signal)));
    },
    hold: (held) => {
      if (held) child.ref();
      else child.unref();
      if (held) child.channel?.ref();
      else child.channel?.unref();
    },
    end: () => {
      child.kill("SIGKILL");
    },
  };
  alive.add(place);
  child.once("exit", () => alive.delete(place));
  child.once("error", () => alive.delete(place));
  return place;
}

/** V8 aborts when it runs out of memory, in some of its versions by a trap. */
function endOf(code: number | null, signal: NodeJS.Signals | null): Gone {
  const aborted = signal === "SIGABRT" || signal === "SIGTRAP" || signal === "SIGILL" || code === 134;
  return { memory: aborted, message: signal === null ? `its process ended with code ${code}` : `${signal} ended it` };
}

function startThread(): TextPlace {
  const limits = { resourceLimits: { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: youngMb } };
  const url = programUrl("text/worker");
  // TypeScript sources run directly (tests): the loader that runs them here is asked to run them there too.
  const program =
    `import("tsx/esm/api").then((m) => m.tsImport(${JSON.stringify(url.href)}, ` + `${JSON.stringify(url.href)}))`;
  const worker = url.href.endsWith(".js") ? new Worker(url, limits) : new Worker(program, { ...limits, eval: true });
  return {
    pid: undefined,
    processorMs: () => undefined,
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => {
      worker.on("message", listener);
    },
    onGone: (listener) => {
      let told = false;
      const tell = (why: Gone): void => {
        if (!told) listener(why);
        told = true;
      };
      worker.on("error", (error: NodeJS.ErrnoException) =>
        tell({ memory: error.code === "ERR_WORKER_OUT_OF_MEMORY", message: error.message }),
      );
      worker.on("exit", (code) => tell({ memory: false, message: `its thread ended with code ${code}` }));
    },
    hold: (held) => (held ? worker.ref() : worker.unref()),
    end: () => void worker.terminate(),
  };
}
