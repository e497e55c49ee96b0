/** Tables of the commands: columns as wide as what stands in them, printable whatever stands in them. */
import { type Colour, coloured } from "./colour.js";
import { columnsOf, cut, padEnd, padStart } from "./columns.js";
import { printable } from "./printable.js";
import { wrap } from "./wrap.js";

/** A text, or one in a colour. */
export type Cell = string | { readonly text: string; readonly colour: Colour | undefined };

export interface Column {
  readonly title?: string;
  readonly align?: "left" | "right";
  /** Gives way where the table is wider than the terminal: its texts lose this part. */
  readonly cut?: "end" | "start";
  /** Texts of the last column go on below themselves at the edge. */
  readonly wrap?: boolean;
  /** At least so many columns. */
  readonly least?: number;
}

export interface TableOptions {
  /** Spaces before each line. */
  readonly indent?: number;
  /** Columns of the terminal; undefined: lines are as long as they are. */
  readonly edge?: number | undefined;
  /** Whether colours are shown. */
  readonly colours?: boolean;
}

const gap = 2;
/** A column that gives way keeps so much. */
const leastCut = 8;
/** A column of prose is not narrower, whatever stands before it. */
const leastWrap = 24;

const textOf = (cell: Cell): string => (typeof cell === "string" ? cell : cell.text);

/** @returns lines, each ended; without rows the titles alone */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  { indent = 0, edge, colours = false }: TableOptions = {},
): string {
  const titled = columns.some(({ title }) => title !== undefined);
  const head: readonly Cell[] = columns.map(({ title = "" }) => ({ text: title, colour: "dim" as const }));
  const shown = (titled ? [head, ...rows] : rows).map((row) =>
    row.map((cell) => ({ text: printable(textOf(cell)), colour: typeof cell === "string" ? undefined : cell.colour })),
  );
  const widths = columns.map(({ least = 0 }, i) =>
    Math.max(least, ...shown.map((row) => columnsOf(row[i]?.text ?? ""))),
  );
  if (edge !== undefined) narrow(columns, widths, edge - indent);
  const lines = shown.map((row) => {
    let line = " ".repeat(indent);
    let pending = "";
    for (const [i, { text, colour }] of row.entries()) {
      const column = columns[i]!;
      const width = widths[i]!;
      const whole = column.cut === undefined || edge === undefined ? text : cut(text, width, column.cut);
      if (column.wrap && edge !== undefined && text !== "") {
        const start = indent + widths.slice(0, i).reduce((sum, each) => sum + each + gap, 0);
        const below = wrap(text, Math.max(leastWrap, edge - start)).split("\n");
        const painted = below.map((each) => (colour === undefined ? each : coloured(colour, each, colours)));
        line += pending + painted.join(`\n${" ".repeat(start)}`);
        break;
      }
      const padded = column.align === "right" ? padStart(whole, width) : whole;
      // Nothing is painted but the text, and no line ends in spaces.
      const lead = padded.slice(0, padded.length - whole.length);
      if (whole !== "") {
        line += pending + lead + (colour === undefined ? whole : coloured(colour, whole, colours));
        pending = "";
      } else pending += lead;
      pending += " ".repeat(padEnd(padded, width).length - padded.length + gap);
    }
    return `${line}\n`;
  });
  return lines.join("");
}

/** Takes what is too much from columns that give way, the last first. */
function narrow(columns: readonly Column[], widths: number[], edge: number): void {
  let over = widths.reduce((sum, width) => sum + width, gap * (widths.length - 1)) - edge;
  for (let i = columns.length - 1; i >= 0 && over > 0; i--) {
    if (columns[i]!.cut === undefined) continue;
    const less = Math.max(Math.min(widths[i]!, leastCut), widths[i]! - over);
    over -= widths[i]! - less;
    widths[i] = less;
  }
}
