/** What goes to stdout and stderr, and what happens when they take no more. */

let watching = false;

/**
 * `hundredweight run ... | head` closes our stdout: that is no error. A full disk is one, and there is no use in going on.
 * What stderr does not take is lost: it is about the work, not the work.
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
  process.stdout.write(
    `${JSON.stringify(document, (_, value) => (ArrayBuffer.isView(value) ? [...(value as Int32Array)] : value))}\n`,
  );
}

/**
 * Text of a model on a terminal: control characters other than tab and line feed are shown as U+FFFD, so that nothing a
 * model says moves the cursor, renames the window or worse. Files and pipes get the text as it is.
 */
export function forTerminal(text: string): string {
  return process.stdout.isTTY ? text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd") : text;
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

export function warn(message: string): void {
  process.stderr.write(`warning: ${message}\n`);
}
