/**
 * Colour where a terminal is: never in files and pipes unless FORCE_COLOR asks for it, and not where NO_COLOR is set or
 * the terminal is dumb. FORCE_COLOR comes first, as it does in Node.
 * @source https://no-color.org, https://force-color.org, tty.WriteStream.getColorDepth of Node
 */

const codes = {
  red: [31, 39],
  green: [32, 39],
  orange: [33, 39],
  cyan: [36, 39],
  bold: [1, 22],
  dim: [2, 22],
} as const;
export type Colour = keyof typeof codes;

/** Whether a stream shows colours. An empty NO_COLOR says nothing. */
export function showsColour(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  const { FORCE_COLOR: forced } = env;
  if (forced !== undefined) return forced !== "0" && forced !== "false";
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
}

/** The text in a colour, as it is where there is none. It has to be printable already. */
export function coloured(colour: Colour, text: string, shown: boolean): string {
  const [on, off] = codes[colour];
  return shown && text !== "" ? `\x1b[${on}m${text}\x1b[${off}m` : text;
}

const own = new RegExp(`\\x1b(?=\\[(?:${[...new Set(Object.values(codes).flat())].join("|")})m)`);

/** The text in parts, between the escapes that begin one of our colours. */
export function betweenColours(text: string): string[] {
  return text.split(own);
}
