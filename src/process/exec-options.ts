/** Which options of Node a child process inherits: those that load TypeScript and set limits. */

/** A program given on the command line is not passed on, nor is a debugger's port, which is taken. */
export function inheritedOptions(options: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!;
    if (/^(-e|-p|-pe|--eval|--print)$/.test(option))
      i++; // with the program behind it
    else if (!/^--(eval=|print=|inspect|debug-port|input-type|test|watch)/.test(option)) kept.push(option);
  }
  return kept;
}
