/** Completion of the command line in bash, zsh, fish and PowerShell, written out of the table of commands. */
import type { CommandFacts, OptionFacts } from "./facts.js";
import { wordsOf } from "./facts.js";

export const shells = ["bash", "zsh", "fish", "powershell"] as const;
export type Shell = (typeof shells)[number];

/** Words of the command line itself, beside the commands. */
const own = ["--help", "--version"];
const help: OptionFacts = { flags: "-h, --help", short: "-h", long: "--help", description: "display help for command" };

/** The first sentence of a description, without back quotes, which shells would run. */
const brief = (text: string): string => text.replaceAll("`", "").split(/(?<=[a-z)])[.;] /)[0]!;

/** @returns a script for the shell to read */
export function completionScript(shell: Shell, commands: readonly CommandFacts[]): string {
  const all = commands.map((command) => ({ ...command, options: [...command.options, help] }));
  return { bash, zsh, fish, powershell }[shell](all);
}

/** Where a value is a path or nothing is known, the shell's own names of files complete it. */
function bash(commands: readonly CommandFacts[]): string {
  const values: string[] = [];
  const options: string[] = [];
  const firsts: string[] = [];
  for (const {
    name,
    options: of,
    arguments: [first],
  } of commands) {
    for (const option of of) {
      if (option.value === undefined || option.value.optional) continue;
      const pattern = wordsOf(option)
        .map((word) => `${name}:${word}`)
        .join(" | ");
      const { choices, kind } = option.value;
      if (choices.length > 0) values.push(`    ${pattern}) words="${choices.join(" ")}" ;;`);
      else if (kind === "text") values.push(`    ${pattern}) return ;;`);
      else values.push(`    ${pattern}) compopt -o default 2>/dev/null; return ;;`);
    }
    options.push(`    ${name}) words="${of.flatMap(wordsOf).join(" ")}" ;;`);
    if (first !== undefined && first.choices.length > 0)
      firsts.push(`    ${name}) words="${first.choices.join(" ")}" ;;`);
  }
  return `# bash completion of hundredweight: source <(hundredweight completion bash)
_hundredweight() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" command="\${COMP_WORDS[1]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${[...commands.map(({ name }) => name), ...own].join(" ")}" -- "$cur"))
    return
  fi
  case "$command:$before" in
${values.join("\n")}
  esac
  if [ -z "$words" ] && [ "\${cur:0:1}" = - ]; then
    case "$command" in
${options.map((line) => `  ${line}`).join("\n")}
    esac
  elif [ -z "$words" ]; then
    case "$command" in
${firsts.map((line) => `  ${line}`).join("\n")}
    esac
  fi
  if [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  else
    compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$cur"))
  fi
}
complete -F _hundredweight hundredweight
`;
}

function zsh(commands: readonly CommandFacts[]): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const spec = (text: string): string => text.replace(/[\\:[\]]/g, "\\$&");
  const action = (choices: readonly string[], kind: string): string =>
    choices.length > 0 ? `(${choices.join(" ")})` : kind === "file" ? "_files" : " ";
  const lines = commands.map(({ name, options, arguments: given }) => {
    const specs = options.map((option) => {
      const words = wordsOf(option);
      const { value } = option;
      const takes =
        value === undefined
          ? ""
          : `${value.optional ? "::" : ":"}${spec(value.name)}:${action(value.choices, value.kind)}`;
      const rest = `[${spec(brief(option.description))}]${takes}`;
      return words.length === 1
        ? quoted(`${words[0]}${rest}`)
        : `'(${words.join(" ")})'{${words.join(",")}}${quoted(rest)}`;
    });
    const positions = given.map(({ name: argument, variadic, required, kind, choices }, i) => {
      const place = variadic ? "*" : `${i + 1}${required ? "" : ":"}`;
      return quoted(`${place}:${spec(argument)}:${action(choices, kind)}`);
    });
    return `    ${name}) _arguments ${[...specs, ...positions].join(" \\\n      ")} ;;`;
  });
  const names = commands.map(({ name, summary }) => `    ${quoted(`${name}:${spec(brief(summary))}`)}`);
  return `#compdef hundredweight
# zsh completion of hundredweight: source <(hundredweight completion zsh), or as _hundredweight in a folder of $fpath
_hundredweight() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C '1:command:->command' '*::argument:->argument'
  if [[ $state == command ]]; then
    local -a names=(
${names.join("\n")}
    )
    _describe command names
    return
  fi
  case $line[1] in
${lines.join("\n")}
  esac
}
if [ "$funcstack[1]" = "_hundredweight" ]; then
  _hundredweight "$@"
else
  compdef _hundredweight hundredweight
fi
`;
}

function fish(commands: readonly CommandFacts[]): string {
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const lines = ["# fish completion of hundredweight: hundredweight completion fish | source"];
  lines.push("complete -c hundredweight -n __fish_use_subcommand -f");
  for (const word of own) lines.push(`complete -c hundredweight -n __fish_use_subcommand -l ${word.slice(2)}`);
  for (const {
    name,
    summary,
    options,
    arguments: [first],
  } of commands) {
    lines.push(`complete -c hundredweight -n __fish_use_subcommand -a ${name} -d ${quoted(brief(summary))}`);
    const when = `complete -c hundredweight -n '__fish_seen_subcommand_from ${name}'`;
    if (first !== undefined && first.choices.length > 0) lines.push(`${when} -f -a ${quoted(first.choices.join(" "))}`);
    for (const { short, long, description, value } of options) {
      const words = [short && `-s ${short.slice(1)}`, long && `-l ${long.slice(2)}`].filter(Boolean).join(" ");
      const choices = value?.choices ?? [];
      const takes =
        value === undefined || value.optional
          ? ""
          : choices.length > 0
            ? ` -x -a ${quoted(choices.join(" "))}`
            : value.kind === "file"
              ? " -r -F"
              : " -x";
      lines.push(`${when} ${words}${takes} -d ${quoted(brief(description))}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function powershell(commands: readonly CommandFacts[]): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  const pair = (word: string, text: string): string => `@(${quoted(word)}, ${quoted(brief(text) || word)})`;
  const list = (items: readonly string[]): string => `@(${items.map((item) => `\n      ${item}`).join(",")}\n    )`;
  const pairs = (of: readonly OptionFacts[]): string[] =>
    of.flatMap((option) => wordsOf(option).map((word) => pair(word, option.description)));
  const options = commands.map(({ name, options: of }) => `    ${quoted(name)} = ${list(pairs(of))}`);
  const values = commands.flatMap(({ name, options: of }) =>
    of.flatMap((option) => {
      const { choices = [] } = option.value ?? {};
      if (choices.length === 0) return [];
      return wordsOf(option).map((word) => `    ${quoted(`${name} ${word}`)} = @(${choices.map(quoted).join(", ")})`);
    }),
  );
  const firsts = commands.flatMap(({ name, arguments: [first] }) =>
    first === undefined || first.choices.length === 0
      ? []
      : [`    ${quoted(name)} = @(${first.choices.map(quoted).join(", ")})`],
  );
  return `# PowerShell completion of hundredweight: hundredweight completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName hundredweight -ScriptBlock {
  param($word, $ast, $position)
  $commands = ${list(commands.map(({ name, summary }) => pair(name, summary)))}
  $options = @{
${options.join("\n")}
  }
  $values = @{
${values.join("\n")}
  }
  $firsts = @{
${firsts.join("\n")}
  }
  $words = @($ast.CommandElements | ForEach-Object { $_.ToString() })
  $done = if ($word -eq '') { $words.Count } else { $words.Count - 1 }
  $found = @()
  if ($done -le 1) {
    $found = $commands
  } else {
    $name = $words[1]
    $choices = $values["$name $($words[$done - 1])"]
    if (-not $choices -and $done -eq 2) { $choices = $firsts[$name] }
    if ($choices) { $found = @($choices | ForEach-Object { ,@($_, $_) }) }
    elseif ($word.StartsWith('-')) { $found = $options[$name] }
  }
  $found | Where-Object { $_[0].StartsWith($word) } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_[0], $_[0], 'ParameterValue', $_[1])
  }
}
`;
}
