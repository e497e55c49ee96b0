/** Shows the machine at work: figures, charts, memory, and the map of the model. */
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { PlanSummary } from "../../../src/server/ui/wire.js";
import { feed } from "../feed.js";
import { bytes, figures, percent, speed } from "../format.js";
import { ModelLoading } from "../shell/model-loading.js";
import { useStore } from "../store.js";
import { Chart } from "./chart.js";
import { MemoryBar } from "./memory-bar.js";
import { ModelMapView } from "./model-map.js";
import { QueueCard } from "./queue-card.js";
import { nowOf, seriesOf } from "./series.js";
import { WhySpeed } from "./why-speed.js";
import "../styles/machine.css";

export function MachineView(): JSX.Element {
  const { state, plan, samples, memory } = useStore(feed);
  const model = state?.model.state === "ready" ? state.model.model : undefined;
  const series = useMemo(() => seriesOf(samples), [samples]);
  const hasExperts = plan?.strategy === "experts" || series.hitRate.some((value) => value !== null);
  return (
    <div class="machine">
      <header class="bar">
        <h1 class="bar-title">Machine</h1>
        {model !== undefined && (
          <span class="faint bar-note">
            {model.name} · {model.ops} · KV {model.kvType}
          </span>
        )}
      </header>
      <div class="machine-body">
        {model !== undefined && <WhySpeed />}
        {model === undefined ? <ModelLoading state={state} /> : <Tiles />}
        <QueueCard />
        <section class="charts" aria-label="Charts of the last minutes">
          <Chart
            title="Generated"
            unit="tokens per second"
            times={series.times}
            lines={[{ label: "all answers", color: "--chart-1", filled: true }]}
            values={[series.generated]}
            format={figures}
          />
          <Chart
            title="Prompts read"
            unit="tokens per second"
            times={series.times}
            lines={[{ label: "not cached", color: "--chart-2", filled: true }]}
            values={[series.prompt]}
            format={figures}
          />
          <Chart
            title="Read from disk"
            unit="per token"
            binary
            times={series.times}
            lines={[{ label: "bytes", color: "--streamed", filled: true }]}
            values={[series.disk]}
            format={(value) => (value === 0 ? "0" : bytes(value))}
            top={plan?.streamedBytesPerPass || 2 ** 20}
          />
          <Chart
            title="Time of a pass"
            unit="ms"
            times={series.times}
            lines={[
              { label: "with stall", color: "--streamed", filled: true },
              { label: "compute", color: "--chart-1", filled: true },
            ]}
            values={[series.pass, series.compute]}
            format={figures}
          />
          {hasExperts && (
            <Chart
              title="Experts found in memory"
              unit="%"
              times={series.times}
              lines={[{ label: "hits", color: "--slots", filled: true }]}
              values={[series.hitRate]}
              format={figures}
              top={100}
            />
          )}
          <Chart
            title="Requests"
            unit=""
            times={series.times}
            lines={[
              { label: "running", color: "--chart-1", filled: true, stepped: true },
              { label: "waiting", color: "--warn", stepped: true },
            ]}
            values={[series.running, series.waiting]}
            format={(value) => (Number.isInteger(value) ? String(value) : "")}
            top={2}
          />
          <Chart
            title="Context in use"
            unit="tokens"
            times={series.times}
            lines={[{ label: "running and cached", color: "--kv", filled: true }]}
            values={[series.context]}
            format={figures}
            top={samples.at(-1)?.kvTokens ?? 1}
          />
        </section>
        {plan !== undefined && (
          <>
            <section class="card">
              <h2>Memory</h2>
              <MemoryBar plan={plan} now={memory} />
            </section>
            <PlanMap plan={plan} />
          </>
        )}
      </div>
    </div>
  );
}

function PlanMap({ plan }: { readonly plan: PlanSummary }): JSX.Element {
  return (
    <section class="card">
      <h2>Map of the model</h2>
      <ModelMapView map={plan.map} />
      {plan.notes.length > 0 && (
        <ul class="notes">
          {plan.notes.map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Tiles(): JSX.Element {
  const { samples, plan } = useStore(feed);
  const now = nowOf(samples);
  const last = samples.at(-1);
  const expected = plan?.guessed === false ? plan.secondsPerToken : undefined;
  return (
    <dl class="tiles">
      <Tile
        name="Generated"
        value={`${figures(now.tokensPerSecond)}`}
        unit="tokens/s"
        note={expected === undefined ? "" : `expected ${speed(expected)}`}
      />
      <Tile name="Prompt" value={figures(now.promptPerSecond)} unit="tokens/s" note="" />
      <Tile
        name="From disk"
        value={now.diskBytesPerToken === undefined ? "–" : bytes(now.diskBytesPerToken)}
        unit="per token"
        note={
          plan === undefined
            ? ""
            : plan.io === "mmap"
              ? "mapped: the system reads"
              : `planned ${bytes(plan.streamedBytesPerPass)} a pass`
        }
      />
      <Tile
        name="Disk wait"
        value={now.stallShare === undefined ? "–" : percent(now.stallShare)}
        unit="of the time"
        note=""
      />
      {(plan?.strategy === "experts" || now.hitRate !== undefined) && (
        <Tile
          name="Expert hits"
          value={now.hitRate === undefined ? "–" : percent(now.hitRate)}
          unit="of those chosen"
          note={plan === undefined ? "" : `expected ${percent(plan.expertHitRate)}`}
        />
      )}
      <Tile name="Requests" value={String(last?.running ?? 0)} unit="running" note={`${last?.waiting ?? 0} waiting`} />
      <Tile
        name="Context in use"
        value={last === undefined || last.kvTokens === 0 ? "–" : percent(last.kvTokensUsed / last.kvTokens)}
        unit={last === undefined ? "" : `of ${last.kvTokens.toLocaleString("en-US")} tokens`}
        note=""
      />
    </dl>
  );
}

interface TileProps {
  readonly name: string;
  readonly value: string;
  readonly unit: string;
  readonly note: string;
}

function Tile({ name, value, unit, note }: TileProps): JSX.Element {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>
        <b>{value}</b> <span class="faint">{unit}</span>
        {note !== "" && <small>{note}</small>}
      </dd>
    </div>
  );
}
