/** The greeting of `hundredweight` alone in a terminal: what this machine can run, and what to type next. */
import type { LocalModel } from "../../store/local/types.js";
import { nameOf } from "../../store/local/types.js";
import type { Strategy } from "../../weights/plan-summary-types.js";
import { strategyColours } from "../reports/strategy-colours.js";
import { coloured } from "../terminal/colour.js";
import { cut } from "../terminal/columns.js";
import { formatBytes, formatRate } from "../terminal/output.js";
import { printable, printableLines } from "../terminal/printable.js";
import { type Cell, type TableOptions, table } from "../terminal/table.js";
import { wrap } from "../terminal/wrap.js";

/** A size of models, as it would run here. */
export interface SizeClass {
  readonly name: string;
  readonly weightBytes: number;
  /** Absent: it does not run in the memory there is. */
  readonly strategy?: Strategy;
  readonly secondsPerToken?: number;
  readonly minimumBudgetBytes: number;
}

/** The parts of a greeting. Those that take a moment are asked for when their place comes. */
export interface GreetingFacts {
  readonly version: string;
  /** Cores, memory and disk in a sentence. */
  readonly machine: string;
  /** Nobody has measured this machine. */
  readonly guessed: boolean;
  readonly sizes: readonly (() => SizeClass)[];
  /** A line from the bundled model; undefined where it cannot run. */
  readonly line: () => Promise<string | undefined>;
  readonly models: () => readonly LocalModel[];
}

const mostModels = 5;

const ways = { resident: "in memory", streamed: "streamed", experts: "experts from disk" } as const;

/** Writes part by part, so that the first stands there at once. */
export async function greet(facts: GreetingFacts, write: (text: string) => void, shape: TableOptions): Promise<void> {
  const { edge = 80, colours = false } = shape;
  const title = (text: string): string => `\n${coloured("bold", text, colours)}\n`;
  const said = (text: string): string => `${wrap(printableLines(text), edge)}\n`;
  write(`${coloured("bold", "hundredweight", colours)} ${facts.version}\n`);
  write(said(facts.machine));

  write(title("This machine runs models of"));
  for (const size of facts.sizes) {
    write(table(sizeColumns, [sizeRow(size())], { ...shape, indent: 2 }));
    // What is written is seen before the next plan is made.
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (facts.guessed) {
    const hint = wrap("  rates are guessed; `hundredweight doctor --probe` measures them", edge);
    write(`${coloured("dim", hint, colours)}\n`);
  }

  const line = await facts.line();
  if (line !== undefined) write(title("The small model that comes with it says") + said(`  ${line}`));

  const models = facts.models();
  if (models.length > 0) {
    write(title("Models on this computer"));
    const rows = models.slice(0, mostModels).map((model): Cell[] => [nameOf(model), formatBytes(model.bytes)]);
    write(table([{ cut: "start" }, { align: "right" }], rows, { ...shape, indent: 2 }));
    if (models.length > mostModels)
      write(coloured("dim", `  and ${models.length - mostModels} more: \`hundredweight list\``, colours).concat("\n"));
  }

  write(title("Type next"));
  const next: Cell[][] = nextCommands(models).map(([command, what]) => [
    { text: cut(printable(command), edge - 4), colour: "cyan" },
    { text: what, colour: "dim" },
  ]);
  write(table([{}, { cut: "end" }], next, { ...shape, indent: 2 }));
}

const sizeColumns = [{ least: 22 }, { align: "right", least: 9 }, { least: 17 }, {}] as const;

function sizeRow({ name, weightBytes, strategy, secondsPerToken, minimumBudgetBytes }: SizeClass): Cell[] {
  const how: Cell =
    strategy === undefined
      ? { text: "does not fit", colour: "red" }
      : { text: ways[strategy], colour: strategyColours[strategy] };
  const rate = secondsPerToken === undefined ? `needs ${formatBytes(minimumBudgetBytes)}` : formatRate(secondsPerToken);
  return [name, formatBytes(weightBytes), how, rate];
}

function nextCommands(models: readonly LocalModel[]): (readonly [string, string])[] {
  const first = models[0];
  const help = ["hundredweight --help", "all commands"] as const;
  if (first === undefined)
    return [
      ["hundredweight chat", "talk to the small model"],
      ["hundredweight find qwen3", "look for larger ones"],
      help,
    ];
  const name = /^[\w.:/@-]+$/.test(nameOf(first)) ? nameOf(first) : `'${nameOf(first).replaceAll("'", "'\\''")}'`;
  return [[`hundredweight chat ${name}`, "talk to it"], [`hundredweight plan ${name}`, "how fast it would be"], help];
}
