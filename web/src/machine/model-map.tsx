/**
 * The plan as a map: a row for each layer, a bar for each tensor as wide as its bytes, coloured by where it lies. The
 * one under the pointer or the keyboard is described below.
 */
import type { CSSProperties, JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { MapTensor, ModelMap, TensorPlace } from "../../../src/server/ui/wire.js";
import { bytes, percent } from "../format.js";

const places: Readonly<Record<TensorPlace, readonly [name: string, color: string]>> = {
  pinned: ["pinned", "--pinned"],
  split: ["pinned in part", "--pinned"],
  streamed: ["streamed", "--streamed"],
  slots: ["expert slots", "--slots"],
  mapped: ["mapped", "--mapped"],
  rows: ["read by rows", "--rows"],
};

interface MapRow {
  readonly name: string;
  readonly tensors: readonly MapTensor[];
  readonly bytes: number;
}

/** The embedding, layers in order, then what follows them or belongs to all. */
export function rowsOf({ tensors }: ModelMap): MapRow[] {
  const rows = new Map<string, MapTensor[]>([["emb", []]]);
  const last: MapTensor[] = [];
  for (const tensor of tensors) {
    const name = tensor.layer >= 0 ? String(tensor.layer) : tensor.name.startsWith("token_") ? "emb" : "head";
    if (name === "head") last.push(tensor);
    else rows.set(name, [...(rows.get(name) ?? []), tensor]);
  }
  rows.set("head", last);
  return [...rows]
    .filter(([, row]) => row.length > 0)
    .map(([name, row]) => ({ name, tensors: row, bytes: row.reduce((sum, t) => sum + t.bytes, 0) }));
}

/** The map of a deep model stays on one screen. */
const rowHeight = (rows: number) => (rows <= 24 ? 18 : rows <= 50 ? 13 : 9);

export function ModelMapView({ map }: { readonly map: ModelMap }): JSX.Element {
  const rows = useMemo(() => rowsOf(map), [map]);
  const [at, setAt] = useState<readonly [row: number, column: number]>([0, 0]);
  const grid = useRef<HTMLDivElement>(null);
  // An embedding of a small model would make its layers vanish: it is cut off instead.
  const widest = Math.max(1, ...rows.filter((row) => Number.isInteger(Number(row.name))).map((row) => row.bytes));
  const used = [...new Set(map.tensors.map((tensor) => tensor.place))];
  const shown = rows[at[0]]?.tensors[at[1]];
  const move = (row: number, column: number) => {
    const to = Math.min(rows.length - 1, Math.max(0, row));
    const across = Math.min(rows[to]!.tensors.length - 1, Math.max(0, column));
    setAt([to, across]);
    grid.current?.querySelector<HTMLElement>(`[data-at="${to} ${across}"]`)?.scrollIntoView({ block: "nearest" });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const [row, column] = at;
    const to: Readonly<Record<string, readonly [number, number]>> = {
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      ArrowDown: [row + 1, column],
      ArrowUp: [row - 1, column],
      Home: [0, 0],
      End: [rows.length - 1, 0],
      PageDown: [row + 10, column],
      PageUp: [row - 10, column],
    };
    const target = to[event.key];
    if (target === undefined) return;
    event.preventDefault();
    move(target[0], target[1]);
  };
  const onPointer = (event: PointerEvent) => {
    const name = (event.target as Element).getAttribute("data-at");
    if (name === null) return;
    const [row, column] = name.split(" ").map(Number);
    if (row !== at[0] || column !== at[1]) setAt([row!, column!]);
  };
  return (
    <div class="map">
      <ul class="map-keys">
        {used.map((place) => (
          <li key={place}>
            <i class={`swatch ${place}`} />
            {places[place][0]}
          </li>
        ))}
        {map.slots !== undefined && (
          <li class="faint">
            {map.slots.slots.toLocaleString("en-US")} slots of {bytes(map.slots.bytes)} in all for{" "}
            {map.slots.experts.toLocaleString("en-US")} experts
          </li>
        )}
      </ul>
      <div
        ref={grid}
        class="map-grid"
        role="slider"
        aria-label={`Map of the model, ${map.tensors.length} tensors`}
        aria-valuemin={0}
        aria-valuemax={map.tensors.length - 1}
        aria-valuenow={shown === undefined ? 0 : map.tensors.indexOf(shown)}
        aria-valuetext={shown === undefined ? "" : `${shown.name}, ${bytes(shown.bytes)}, ${places[shown.place][0]}`}
        tabIndex={0}
        onKeyDown={onKeyDown}
        onPointerMove={onPointer}
      >
        {rows.map((row, r) => (
          <div key={row.name} class="map-row" style={{ height: `${rowHeight(rows.length)}px` }}>
            <span class="map-name" aria-hidden="true">
              {row.name}
            </span>
            <span
              class="map-bars"
              data-cut={row.bytes > widest}
              style={{ width: `${Math.min(100, (100 * row.bytes) / widest)}%` }}
            >
              {row.tensors.map((tensor, c) => (
                <i
                  key={tensor.name}
                  class={`bar-${tensor.place}`}
                  data-at={`${r} ${c}`}
                  data-current={at[0] === r && at[1] === c}
                  style={barStyle(tensor)}
                />
              ))}
            </span>
          </div>
        ))}
      </div>
      <p class="map-detail">{shown !== undefined && <Detail tensor={shown} slots={map.slots} />}</p>
    </div>
  );
}

/** Norms would vanish: every bar can be seen. */
function barStyle(tensor: MapTensor): CSSProperties {
  const style: CSSProperties = { flex: `${tensor.bytes} 1 1px` };
  if (tensor.place !== "split") return style;
  const share = `${((100 * tensor.pinnedBytes) / tensor.bytes).toFixed(1)}%`;
  return { ...style, background: `linear-gradient(90deg, var(--pinned) ${share}, var(--streamed) ${share})` };
}

function Detail({ tensor, slots }: { readonly tensor: MapTensor; readonly slots: ModelMap["slots"] }): JSX.Element {
  const { name, dtype, place, pinnedBytes, experts, role } = tensor;
  return (
    <>
      <code>{name}</code> <span class="tag">{dtype}</span> <span class="tag">{role}</span> {bytes(tensor.bytes)}
      {experts !== undefined && `, ${experts} experts`} · <strong>{places[place][0]}</strong>
      {place === "split" &&
        `: ${bytes(pinnedBytes)} (${percent(pinnedBytes / tensor.bytes)}) in memory, ` +
          `${bytes(tensor.bytes - pinnedBytes)} read at every pass`}
      {place === "slots" && slots !== undefined && `: room for ${percent(slots.slots / slots.experts)} of all experts`}
    </>
  );
}
