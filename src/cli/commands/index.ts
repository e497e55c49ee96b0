/** The commands, one file each. A command file exports `register(program)`. */
import type { Command } from "commander";

export const commands: readonly ((program: Command) => void)[] = [];
