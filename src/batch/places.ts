/** The two files of a batch. They are told apart by device and inode, so that links are seen through. */
import { type BigIntStats, fstatSync, statSync } from "node:fs";
import { fileError, HundredweightError } from "../errors.js";
import { checkRegular } from "../regular-file.js";

/** Standard input, and standard output. */
export const standard = "-";

export interface Place {
  /** For people. */
  readonly name: string;
  /** Undefined: standard input or output. */
  readonly path: string | undefined;
  /** Undefined: nothing has the name yet. */
  readonly found: BigIntStats | undefined;
}

/** @throws FILE_NOT_FOUND, FILE_IO, FILE_NOT_REGULAR for what is neither file nor pipe */
export function inputPlace(path: string): Place {
  if (path === standard) return { name: "standard input", path: undefined, found: fstatSync(0, { bigint: true }) };
  const found = inspected(path, () => statSync(path, { bigint: true }));
  if (!found.isFIFO()) checkRegular(path, found, "a file or a pipe is read; - is standard input");
  return { name: path, path, found };
}

/** @throws FILE_IO, FILE_NOT_REGULAR */
export function outputPlace(path: string): Place {
  if (path === standard) return { name: "standard output", path: undefined, found: fstatSync(1, { bigint: true }) };
  const found = inspected(path, () => statSync(path, { bigint: true, throwIfNoEntry: false }));
  if (found !== undefined) checkRegular(path, found, "answers go to a file; - is standard output");
  return { name: path, path, found };
}

/** @throws OPTION_INVALID when both are one file, whatever it is called */
export function refuseSameFile(input: Place, output: Place): void {
  const [a, b] = [input.found, output.found];
  if (a?.isFile() && b?.isFile() && a.dev === b.dev && a.ino === b.ino)
    throw new HundredweightError(
      "OPTION_INVALID",
      `${input.name} and ${output.name} are one file; answers need a file of their own`,
    );
}

/** Nothing is opened: opening a pipe or a device may wait, or do something. */
function inspected<T>(path: string, inspect: () => T): T {
  try {
    return inspect();
  } catch (error) {
    throw fileError(path, error);
  }
}
