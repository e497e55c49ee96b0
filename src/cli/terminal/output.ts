/** Writes to stdout and stderr, and handles their end. Everything but a model's text passes here. */
import { betweenColours, type Colour, coloured, showsColour } from "./colour.js";
import { printable, printableJson, printableLines } from "./printable.js";
import { proseColumns, wrap } from "./wrap.js";

let watching = false;

/**
 * `hundredweight run ... | head` closes our stdout: that is no error. A full disk is one, and there is no use in going
 * on. Text that stderr does not take is lost: it is about the work, not the work.
 */
export function watchStandardStreams(): void {
  if (watching) return;
  watching = true;
  process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") process.exit(0);
    process.stderr.write(
      `error[FILE_IO]: standard output: ${message.replace(/^(\w+): /, "$1 ").replace(/, write$/, "")}\n`,
    );
    process.exit(1);
  });
  process.stderr.on("error", () => {});
}

/** The one JSON document of a command. Typed arrays become arrays; numbers that JSON has not become null. */
export function printJson(document: unknown): void {
  const json = JSON.stringify(document, (_, value) => (ArrayBuffer.isView(value) ? [...(value as Int32Array)] : value));
  process.stdout.write(`${printableJson(json)}\n`);
}

/** A table or text of ours on stdout; what is foreign in it cannot act on a terminal. */
export function printText(text: string): void {
  process.stdout.write(printableLines(text));
}

/** A text in colours of ours, whose foreign parts are printable already: whatever else it holds cannot act. */
export function printColoured(text: string): void {
  process.stdout.write(betweenColours(text).map(printableLines).join("\x1b"));
}

/** Facts of standard output: where lines end on a terminal, and whether it shows colours. */
export function standardOutput(): { readonly edge: number | undefined; readonly colours: boolean } {
  const { isTTY, columns } = process.stdout;
  return { edge: isTTY ? columns || 80 : undefined, colours: showsColour(process.stdout) };
}

/** Prose for stdout, wrapped where that is a terminal. */
export function prose(text: string, hanging = 0): string {
  return wrap(printableLines(text), proseColumns(process.stdout), { hanging });
}

/** A line, or lines of ours, on stderr; what is foreign in it cannot act on a terminal. */
export function tell(text: string): void {
  process.stderr.write(`${wrap(printableLines(text), proseColumns(process.stderr))}\n`);
}

/** Always one line in files and pipes: messages that quote several lines of a template are joined. */
export function printError(code: string, message: string): void {
  labelled(`error[${code}]:`, "red", message);
}

export function warn(message: string): void {
  labelled("warning:", "orange", message);
}

export function note(message: string): void {
  labelled("note:", "dim", message);
}

function labelled(label: string, colour: Colour, message: string): void {
  const line = printable(message.replace(/\s*\n\s*/g, " "));
  const wrapped = wrap(`${label} ${line}`, proseColumns(process.stderr), { hanging: 2 });
  process.stderr.write(`${coloured(colour, label, showsColour(process.stderr))}${wrapped.slice(label.length)}\n`);
}

/** A rate for people: 3.4 s a token, or 12.5 tokens/s. */
export function formatRate(secondsPerToken: number): string {
  return secondsPerToken >= 1
    ? `${secondsPerToken.toFixed(1)} s a token`
    : `${(1 / secondsPerToken).toFixed(1)} tokens/s`;
}

/** Bytes for people: 1.2 GiB. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}
