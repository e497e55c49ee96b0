/** Shared by the programs of this folder: how they read their arguments and leave their figures. */
import { writeFileSync } from "node:fs";
import { type ParseArgsConfig, parseArgs } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;

export interface Arguments<O extends Options> {
  readonly values: ReturnType<typeof parseArgs<{ options: O; allowPositionals: true }>>["values"];
  readonly paths: readonly string[];
  /** The first of them. */
  readonly path: string;
}

/**
 * Option values and files. Ends the process with code 2 and the usage where an option is wrong or fewer than `least`
 * files are named.
 */
export function readArguments<const O extends Options>(usage: string, options: O, least = 1): Arguments<O> {
  const refuse = (reason: string): never => {
    console.error(`${reason}\nusage: ${usage}`);
    process.exit(2);
  };
  try {
    const { values, positionals } = parseArgs<{ options: O; allowPositionals: true }>({
      options,
      allowPositionals: true,
    });
    if (positionals.length < least) refuse("no file is named");
    return { values, paths: positionals, path: positionals[0] ?? "" };
  } catch (error) {
    return refuse((error as Error).message);
  }
}

/** `a,b` -> ["a", "b"]; nothing -> []. */
export const commaList = (text: string | undefined): string[] => text?.split(",").filter((t) => t !== "") ?? [];

/** Writes the document where `--json` said. */
export function saveJson(file: string | undefined, document: unknown): void {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`);
}
