/** The manual page man/hundredweight.1, made of what the commands say of themselves. */
import { commands } from "../../src/cli/commands/index.js";
import { type CommandFacts, commandFacts } from "../../src/cli/completion/facts.js";
import { packageVersion } from "../../src/package-root.js";

/** Text as roff takes it: no escapes, no requests. */
const roff = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("`", "")
    .replace(/^([.'])/gm, "\\&$1");

const bold = (text: string): string => `\\fB${roff(text)}\\fR`;

function flags(text: string): string {
  return text
    .split(/(<[^>]*>|\[[^\]]*\])/)
    .map((part, i) => (i % 2 === 1 ? `\\fI${roff(part)}\\fR` : part.trim() === "" ? part : bold(part)))
    .join("");
}

function section({ usage, summary, options, arguments: given }: CommandFacts): string[] {
  const [name, ...rest] = usage.split(" ");
  const lines = [`.SS ${bold(`hundredweight ${name}`)} ${rest.map((word) => `\\fI${roff(word)}\\fR`).join(" ")}`];
  lines.push(roff(summary));
  for (const { name, description, required } of given)
    lines.push(".TP", `\\fI${roff(required ? `<${name}>` : `[${name}]`)}\\fR`, roff(description || name));
  for (const option of options) lines.push(".TP", flags(option.flags), roff(option.description));
  return lines;
}

/** @returns roff, in the macros of man(7) */
export async function manPage(): Promise<string> {
  const all = await commandFacts(commands);
  return `${[
    `.\\" Written by node scripts/write-cli-page.mjs from the commands themselves.`,
    `.TH HUNDREDWEIGHT 1 "" "hundredweight ${roff(packageVersion())}" "User Commands"`,
    ".SH NAME",
    "hundredweight \\- run very large language models on the computer you already have",
    ".SH SYNOPSIS",
    `${bold("hundredweight")} \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]`,
    ".br",
    `${bold("hundredweight")} ${bold("--version")}`,
    ".SH DESCRIPTION",
    roff(
      "Quantized weights stay quantized, a memory budget is kept, and what does not fit into memory is streamed from " +
        "disk. Alone in a terminal it tells what this machine can run. A model is a GGUF file, a folder of Hugging " +
        "Face, or a name as list shows it.",
    ),
    ".SH COMMANDS",
    ...all.flatMap(section),
    ".SH EXIT STATUS",
    roff("0 when all went well, 1 when something failed, 2 when the command was used wrongly, 130 after Ctrl-C."),
    ".SH EXAMPLES",
    ".nf",
    ...[
      'hundredweight run "Once upon a time"',
      "hundredweight plan model.gguf --memory 16GiB",
      "hundredweight serve model.gguf",
    ].map(roff),
    ".fi",
  ].join("\n")}\n`;
}
