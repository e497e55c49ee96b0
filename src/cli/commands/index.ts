/** The commands, one file each. A command file exports `register(program)`. */
import type { Command } from "commander";
import { register as inspect } from "./inspect.js";

export const commands: readonly ((program: Command) => void)[] = [inspect];
