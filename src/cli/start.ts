/**
 * The program's first steps: the thread of the engine that a command will want is started, and only then the command is
 * loaded. Both take as long, and a computer has two processors.
 */
import { keepCompiled } from "../process/compiled.js";

/** Commands that open a model in a thread, whatever their options. */
const withEngine = new Set(["run", "chat"]);

/** @returns the exit code, as `main` does */
export async function start(argv: readonly string[]): Promise<number> {
  keepCompiled();
  const asksForHelp = argv.includes("--help") || argv.includes("-h");
  if (withEngine.has(argv[0] ?? "") && !asksForHelp) (await import("../link/transports.js")).prewarm();
  return (await import("./main.js")).main(argv);
}
