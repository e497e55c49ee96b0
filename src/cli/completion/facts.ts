/** Facts of every command and option, for docs/cli.md, the manual page and the completion of shells. */
import { Command, type Option } from "commander";

export type ValueKind = "file" | "text";

export interface OptionFacts {
  /** As help shows them: `-n, --max-tokens <n>`. */
  readonly flags: string;
  readonly short?: string;
  readonly long?: string;
  readonly description: string;
  /** Absent: it takes no value. */
  readonly value?: {
    readonly name: string;
    readonly optional: boolean;
    readonly kind: ValueKind;
    readonly choices: readonly string[];
  };
}

export interface ArgumentFacts {
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
  readonly variadic: boolean;
  readonly kind: ValueKind;
  readonly choices: readonly string[];
}

export interface CommandFacts {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  readonly options: readonly OptionFacts[];
  readonly arguments: readonly ArgumentFacts[];
}

/** Values and arguments that are paths go by these names. */
const pathNames = /^(file|files|folder|path|paths|in|out|model)$/;

const kindOf = (name: string): ValueKind => (pathNames.test(name) ? "file" : "text");

/** Words behind a colon at the end of a description are what the option takes. */
const listed = /: ((?:[\w-]+, )+[\w-]+)$/;

function optionFacts(option: Option): OptionFacts {
  const { flags, short, long, description } = option;
  const placeholder = /[<[]([\w=-]+)(?:\.\.\.)?[>\]]/.exec(flags)?.[1];
  return {
    flags,
    ...(short !== undefined && { short }),
    ...(long !== undefined && { long }),
    description,
    ...(placeholder !== undefined && {
      value: {
        name: placeholder,
        optional: option.optional,
        kind: kindOf(placeholder),
        choices: option.argChoices ?? listed.exec(description)?.[1]?.split(", ") ?? [],
      },
    }),
  };
}

/** An entry of the list of commands, as far as it is needed here. */
export interface LoadableCommand {
  readonly usage: string;
  readonly summary: string;
  readonly load: () => Promise<{ readonly register: (program: Command) => void }>;
}

/** Loads all commands, which takes a moment. */
export async function commandFacts(commands: readonly LoadableCommand[]): Promise<CommandFacts[]> {
  const facts: CommandFacts[] = [];
  for (const { usage, summary, load } of commands) {
    const program = new Command();
    (await load()).register(program);
    const command = program.commands[0]!;
    facts.push({
      name: command.name(),
      usage,
      summary,
      options: command.options.filter((option) => !option.hidden).map(optionFacts),
      arguments: command.registeredArguments.map((argument) => ({
        name: argument.name(),
        description: argument.description,
        required: argument.required,
        variadic: argument.variadic,
        kind: kindOf(argument.name()),
        choices: argument.argChoices ?? [],
      })),
    });
  }
  return facts;
}

/** Words of an option on the command line. */
export const wordsOf = ({ short, long }: OptionFacts): string[] =>
  [short, long].filter((word): word is string => word !== undefined);
