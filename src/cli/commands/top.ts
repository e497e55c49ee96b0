/** `hundredweight top [URL]`: a running server, live in the terminal. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { parseNumber } from "../options/options.js";
import { showsColour } from "../terminal/colour.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { printJson, standardOutput } from "../terminal/output.js";
import { ratesOf } from "../top/rates.js";
import { follow, ServerFacts } from "../top/server-feed.js";
import { type SystemFigures, SystemWatch } from "../top/system.js";
import { topView } from "../top/view.js";

interface TopFlags {
  readonly apiKey?: string;
  readonly interval?: number;
  readonly json?: boolean;
}

const usualUrl = "http://127.0.0.1:8471";
/** Where nobody looks on, figures are of at least this time; a server with much to do tells its later. */
const onceMs = 2500;
const onceMostMs = 20_000;
/** A server that went away is asked again. */
const againMs = 1000;

export function register(program: Command): void {
  program
    .command("top")
    .description("Watch a running server: tokens, disk, waiting, KV cache, queue, memory by kind, experts; q ends.")
    .argument("[url]", `address of the server (default: ${usualUrl})`)
    .option("--api-key <key>", "where the server wants one")
    .option("--interval <seconds>", "between two views (default 1)", (t) => parseNumber(t, "--interval", 0.1, 3600))
    .option("--json", "one JSON document on stdout, of some seconds")
    .action((url: string | undefined, flags: TopFlags) => top(serverUrl(url ?? usualUrl), flags));
}

/** `8471`, `host:8471` and addresses of pages are understood. @throws OPTION_INVALID */
export function serverUrl(word: string): URL {
  const whole = /^\d+$/.test(word) ? `http://127.0.0.1:${word}` : /^https?:\/\//.test(word) ? word : `http://${word}`;
  if (!URL.canParse(whole)) throw new HundredweightError("OPTION_INVALID", `'${word}' is no address of a server`);
  return new URL(new URL(whole).origin);
}

async function top(url: URL, flags: TopFlags): Promise<void> {
  const key = flags.apiKey ?? (process.env.HUNDREDWEIGHT_API_KEY || undefined);
  const facts = new ServerFacts();
  const here = /^(localhost|127\..*|\[::1\])$/.test(url.hostname);
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  const watch = here ? new SystemWatch(port) : undefined;
  await withInterrupt(async (signal) => {
    const ended = new AbortController();
    const where = { url: url.origin, key, signal: AbortSignal.any([signal, ended.signal]) };
    const live = flags.json !== true && process.stdout.isTTY === true && process.env.TERM !== "dumb";
    if (!live) return once(where, facts, watch, flags.json === true).finally(() => ended.abort());
    await new Live(where.url, facts, watch, 1000 * (flags.interval ?? 1), ended).run(where);
  });
}

type Where = Parameters<typeof follow>[0];

/** Prints one view, where nobody looks on. */
async function once(where: Where, facts: ServerFacts, watch: SystemWatch | undefined, json: boolean): Promise<void> {
  watch?.look(performance.now());
  let told = (): void => {};
  const followed = follow(where, facts, () => facts.whole && told());
  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal: where.signal });
  await Promise.race([followed, pause(onceMs)]);
  const whole = new Promise<void>((resolve) => {
    told = resolve;
  });
  if (!facts.whole) await Promise.race([followed, whole, pause(onceMostMs - onceMs)]);
  followed.catch(() => {}); // ended by us
  const system = watch?.look(performance.now());
  if (json) {
    const { state, memory, plan, samples } = facts;
    const { map: _, ...planned } = plan ?? {};
    const latest = { now: samples.at(-1), rates: ratesOf(samples.slice(-5)) };
    printJson({ url: where.url, state, ...latest, memory, plan: plan && planned, system });
    return;
  }
  const { edge = 80, colours } = standardOutput();
  const shown = { url: where.url, facts, system };
  process.stdout.write(`${topView(shown, { columns: edge, colours, now: Date.now() }).join("\n")}\n`);
}

/** The other screen of the terminal, drawn again and again until q. */
class Live {
  private readonly url: string;
  private readonly facts: ServerFacts;
  private readonly watch: SystemWatch | undefined;
  private readonly everyMs: number;
  private readonly ended: AbortController;
  private system: SystemFigures | undefined;
  private trouble: string | undefined;

  constructor(
    url: string,
    facts: ServerFacts,
    watch: SystemWatch | undefined,
    everyMs: number,
    ended: AbortController,
  ) {
    this.url = url;
    this.facts = facts;
    this.watch = watch;
    this.everyMs = everyMs;
    this.ended = ended;
  }

  /** @throws when there is no such server from the beginning */
  async run(where: Where): Promise<void> {
    const { stdin, stdout } = process;
    const onKey = (keys: Buffer): void => {
      // q, Ctrl-C, Ctrl-D and Escape; in raw mode they are keys like others.
      if (/^(?:[qQ\x03\x04]|\x1b$)/.test(keys.toString("latin1"))) this.ended.abort();
    };
    const redraw = (): void => this.draw();
    let opened = false;
    const open = (): void => {
      if (opened) return;
      opened = true;
      stdout.write("\x1b[?1049h\x1b[?25l");
      this.draw();
    };
    if (stdin.isTTY) stdin.setRawMode(true);
    stdin.on("data", onKey);
    stdout.on("resize", redraw);
    const timer = setInterval(() => {
      this.system = this.watch?.look(performance.now());
      if (opened) this.draw();
    }, this.everyMs);
    try {
      while (!where.signal.aborted) {
        try {
          await follow(where, this.facts, () => {
            this.trouble = undefined;
            open();
          });
          this.trouble = "the server has ended; it is asked again";
        } catch (error) {
          if (where.signal.aborted) break;
          if (!opened) throw error;
          this.trouble = asHundredweightError(error).message;
        }
        await sleep(againMs, undefined, { signal: where.signal }).catch(() => {});
      }
    } finally {
      clearInterval(timer);
      stdout.off("resize", redraw);
      stdin.off("data", onKey);
      if (stdin.isTTY) stdin.setRawMode(false);
      stdin.pause();
      if (opened) stdout.write("\x1b[?25h\x1b[?1049l");
    }
  }

  private draw(): void {
    const { columns = 80, rows = 24 } = process.stdout;
    const shape = { columns, colours: showsColour(process.stdout), now: Date.now() };
    const { url, facts, system, trouble } = this;
    const lines = topView({ url, facts, system, trouble }, shape).slice(0, rows);
    // Each line is written over the one before it, so that nothing flickers.
    process.stdout.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
  }
}
