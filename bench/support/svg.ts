/** A plain line chart as SVG. */
export interface Line {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [number, number])[];
  readonly dashed?: boolean;
}

export function chart(title: string, xLabel: string, yLabel: string, lines: readonly Line[]): string {
  const [width, height, left, top, right, bottom] = [760, 440, 70, 50, 20, 60];
  const all = lines.flatMap((l) => l.points);
  const xMax = Math.max(...all.map(([x]) => x)) * 1.05;
  const yMax = Math.max(...all.map(([, y]) => y)) * 1.1;
  const x = (v: number): string => (left + (v / xMax) * (width - left - right)).toFixed(1);
  const y = (v: number): string => (height - bottom - (v / yMax) * (height - top - bottom)).toFixed(1);
  const ticks = (max: number): number[] => {
    const step = 10 ** Math.floor(Math.log10(max / 2));
    const nice = [1, 2, 5, 10].map((k) => k * step).find((s) => max / s <= 7) ?? max;
    return Array.from({ length: Math.floor(max / nice) + 1 }, (_, i) => i * nice);
  };
  const text = (at: string, content: string, extra = ""): string => `<text ${at} ${extra}>${content}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" ` +
      `font-size="13">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    text(`x="${width / 2}" y="24"`, title, 'text-anchor="middle" font-size="16"'),
    ...ticks(xMax).map((t) =>
      text(`x="${x(t)}" y="${height - bottom + 20}"`, String(+t.toPrecision(4)), 'text-anchor="middle"'),
    ),
    ...ticks(yMax).flatMap((t) => [
      `<line x1="${left}" x2="${width - right}" y1="${y(t)}" y2="${y(t)}" stroke="#ddd"/>`,
      text(`x="${left - 8}" y="${y(t)}"`, String(+t.toPrecision(4)), 'text-anchor="end" dominant-baseline="middle"'),
    ]),
    text(`x="${(left + width - right) / 2}" y="${height - 16}"`, xLabel, 'text-anchor="middle"'),
    text(`transform="translate(18 ${height / 2}) rotate(-90)"`, yLabel, 'text-anchor="middle"'),
    ...lines.flatMap((l, i) => [
      `<polyline fill="none" stroke="${l.colour}" stroke-width="2" ${l.dashed ? 'stroke-dasharray="6 4"' : ""} ` +
        `points="${l.points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ")}"/>`,
      ...l.points.map(([a, b]) => `<circle cx="${x(a)}" cy="${y(b)}" r="3.5" fill="${l.colour}"/>`),
      text(`x="${width - right - 10}" y="${top + 18 * i}"`, l.name, `text-anchor="end" fill="${l.colour}"`),
    ]),
    "</svg>",
  ].join("\n");
}
