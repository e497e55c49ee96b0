/** Colour where a terminal is: never in files and pipes, and not where NO_COLOR is set (https://no-color.org). */

const codes = { red: [31, 39], green: [32, 39], orange: [33, 39], bold: [1, 22], dim: [2, 22] } as const;
export type Colour = keyof typeof codes;

/** Whether a stream shows colours. An empty NO_COLOR says nothing. */
export function showsColour(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
}

/** The text in a colour, as it is where there is none. It has to be printable already. */
export function coloured(colour: Colour, text: string, shown: boolean): string {
  const [on, off] = codes[colour];
  return shown ? `\x1b[${on}m${text}\x1b[${off}m` : text;
}
