/** A time series that goes on. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useStore } from "../store.js";
import { isDark } from "../theme.js";

export interface Line {
  readonly label: string;
  /** Name of a CSS variable. */
  readonly color: string;
  readonly filled?: boolean;
  readonly stepped?: boolean;
}

export interface ChartProps {
  readonly title: string;
  readonly unit: string;
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly values: readonly (readonly (number | null)[])[];
  readonly format: (value: number) => string;
  /** Ticks at powers of two: bytes. */
  readonly binary?: boolean;
  /** Top of the scale when values stay below; default: what they reach. */
  readonly top?: number;
}

const height = 132;
const powersOfTwo = Array.from({ length: 44 }, (_, i) => 2 ** i);
/** Seconds shown. */
const span = 180;

export function Chart({ title, unit, times, lines, values, format, top, binary }: ChartProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const dark = useStore(isDark);
  const latest = values.map((column) => column.findLast((value) => value !== null) ?? null);
  const data = useMemo(() => recent(times, values), [times]);

  useEffect(() => {
    const element = host.current!;
    const style = getComputedStyle(element);
    // As a computed colour: a canvas knows neither variables nor light-dark().
    const color = (name: string) => {
      element.style.color = `var(${name})`;
      return style.color;
    };
    const axis = {
      stroke: color("--faint"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { show: false },
      font: `11px ${style.getPropertyValue("--sans")}`,
    };
    const options: uPlot.Options = {
      width: Math.max(120, element.clientWidth),
      height,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      padding: [8, 14, 0, 0],
      scales: {
        x: { time: false, range: () => [-span, 0] },
        y: { range: (_, __, most) => [0, Math.max(top ?? 0, (most ?? 0) * 1.12) || 1] },
      },
      axes: [
        { ...axis, space: 70, size: 22, incrs: [30, 60], values: (_, ticks) => ticks.map(ago) },
        {
          ...axis,
          space: 34,
          size: 58,
          ...(binary === true && { incrs: powersOfTwo }),
          values: (_, ticks) => ticks.map((tick) => short(format(tick))),
        },
      ],
      series: [
        {},
        ...lines.map((line): uPlot.Series => {
          const stroke = color(line.color);
          return {
            stroke,
            width: 1.5,
            points: { show: false },
            ...(line.filled === true && { fill: stroke.replace(/rgb\((.+)\)/, "rgba($1, 0.15)") }),
            ...(line.stepped === true && { paths: uPlot.paths.stepped!({ align: 1 }) }),
          };
        }),
      ],
    };
    const made = new uPlot(options, data, element);
    plot.current = made;
    const onResize = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && width !== made.width) made.setSize({ width, height });
    });
    onResize.observe(element);
    return () => {
      onResize.disconnect();
      made.destroy();
    };
  }, [dark]);
  useEffect(() => plot.current?.setData(data), [data]);

  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-title">{title}</span>
        <span class="faint">{unit}</span>
        <span class="chart-keys">
          {lines.map(({ label, color }, i) => (
            <span key={label} class="key">
              <i style={{ background: `var(${color})` }} />
              {label} <b>{latest[i] === null || latest[i] === undefined ? "–" : format(latest[i])}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={host} class="chart-plot" aria-hidden="true" />
    </figure>
  );
}

/** Columns of the span that is shown, times as seconds before the last one. */
function recent(times: readonly number[], values: ChartProps["values"]): uPlot.AlignedData {
  const last = times.at(-1) ?? 0;
  const from = times.findIndex((time) => time >= last - span);
  const shown = (column: readonly (number | null)[]) => column.slice(Math.max(0, from));
  return [shown(times).map((time) => time! - last), ...values.map(shown)] as uPlot.AlignedData;
}

/** A round number has no use for the figures a measured one is shown with: 2.50 MiB is 2.5 MiB, 4.00 is 4. */
function short(label: string): string {
  return label.replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");
}

function ago(tick: number): string {
  const minutes = Math.round(tick / 30) / 2;
  return minutes === 0 ? "now" : Number.isInteger(minutes) ? `${minutes} min` : "";
}
