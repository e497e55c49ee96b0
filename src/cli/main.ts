/** `hundredweight <command>`: parses the command line, prints errors as one line, returns the exit code. */
import { Command, CommanderError } from "commander";
import { asHundredweightError } from "../errors.js";
import { mark } from "../process/marks.js";
import { registerCommands } from "./commands/index.js";
import { helpOutput, helpShape } from "./terminal/help.js";
import { note, printError, printText, tell, watchStandardStreams } from "./terminal/output.js";
import { versionText } from "./version.js";

/** For who calls the name alone without a terminal: three commands, not all of them. */
const firstSteps = `hundredweight runs large language models on the computer you already have.

  hundredweight chat model.gguf    talk to a model; without a file: a small one
  hundredweight plan model.gguf    before loading: does it fit, how fast is it
  hundredweight serve model.gguf   for clients of OpenAI and others, and a page

hundredweight --help lists all commands.
`;

/** @returns 0 ok, 1 failed, 2 usage, 130 and 143 stopped by a signal */
export async function main(argv: readonly string[]): Promise<number> {
  mark("run: program loaded");
  watchStandardStreams();
  const program = new Command("hundredweight")
    .description("Runs very large language models on the computer you already have.")
    .option("-v, --version", "show the version, the addon and its instruction set")
    .on("option:version", () => {
      printText(versionText());
      throw new CommanderError(0, "commander.version", "");
    })
    .exitOverride()
    .configureOutput(helpOutput)
    .showHelpAfterError(false)
    .configureHelp(helpShape);
  if (argv.length === 0) {
    if (process.stdout.isTTY === true) return greeted();
    printText(firstSteps);
    return 2;
  }
  await registerCommands(program, argv);
  for (const command of program.commands) command.exitOverride();
  try {
    // -V is what the option was called once.
    const known = argv[0] === "-V" ? ["-v", ...argv.slice(1)] : await inOwnWords(argv);
    await program.parseAsync(known, { from: "user" });
    return typeof process.exitCode === "number" ? process.exitCode : 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      if (thrown.exitCode === 0) return 0;
      if (thrown.code === "commander.help") return 0;
      const command = program.commands.find((c) => c.name() === argv[0])?.name();
      const help = ["hundredweight", ...(command === undefined ? [] : [command]), "--help"].join(" ");
      printError("OPTION_INVALID", `${thrown.message.replace(/^error: /, "")}; see \`${help}\``);
      return 2;
    }
    const error = asHundredweightError(thrown);
    const raw = error.code === "TEMPLATE_INVALID" && (argv[0] === "run" || argv[0] === "chat");
    printError(error.code, raw ? `${error.message}; --raw prompts without it` : error.message);
    if (process.env.HUNDREDWEIGHT_DEBUG !== undefined) tell(`${error.stack}`);
    const { exitCode } = error.details;
    return typeof exitCode === "number" ? exitCode : error.code === "OPTION_INVALID" ? 2 : 1;
  }
}

/** For who sits at a terminal: what this machine can run. */
async function greeted(): Promise<number> {
  (await import("../link/transports.js")).prewarm();
  await (await import("./greeting/here.js")).greetHere();
  return 0;
}

/** `serve` knows llama-server's options too. */
async function inOwnWords(argv: readonly string[]): Promise<readonly string[]> {
  if (argv[0] !== "serve") return argv;
  const { args, notes } = (await import("./options/llama-arguments.js")).ownArguments(argv.slice(1));
  for (const text of notes) note(text);
  return ["serve", ...args];
}
