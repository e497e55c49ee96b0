/** Memory by kind against the budget: what was planned, and what is in use now. */
import type { JSX } from "preact";
import type { MemoryNow, PlanBytes, PlanSummary } from "../../../src/server/ui/wire.js";
import { bytes } from "../format.js";

const kinds: readonly (readonly [kind: keyof PlanBytes, name: string, color: string])[] = [
  ["pinned", "Weights in memory", "--pinned"],
  ["adapters", "Adapters", "--adapters"],
  ["expertSlots", "Expert slots", "--slots"],
  ["ring", "Streaming ring", "--streamed"],
  ["kv", "KV cache", "--kv"],
  ["activations", "Activations", "--activations"],
  ["tokenizer", "Tokenizer", "--tokenizer"],
  ["constraints", "Schemas and grammars", "--constraints"],
  ["pasts", "Buffers of read prompts", "--pasts"],
  ["runtime", "Runtime", "--runtime"],
];

export interface MemoryBarProps {
  readonly plan: PlanSummary;
  /** Absent for a model that is not loaded. */
  readonly now?: MemoryNow | undefined;
}

export function MemoryBar({ plan, now }: MemoryBarProps): JSX.Element {
  const planned = plan.bytes;
  const shown = kinds.filter(([kind]) => planned[kind] > 0);
  const total = shown.reduce((sum, [kind]) => sum + planned[kind], 0);
  const scale = Math.max(plan.budgetBytes, total);
  const mapped = plan.io === "mmap";
  const width = (value: number) => ({ width: `${(100 * value) / scale}%` });
  return (
    <div class="memory">
      <div class="memory-bar" role="img" aria-label={`${bytes(total)} of ${bytes(plan.budgetBytes)} planned`}>
        {shown.map(([kind, name, color]) => (
          <span
            key={kind}
            style={{ ...width(planned[kind]), background: `var(${kind === "pinned" && mapped ? "--mapped" : color})` }}
            title={`${name}: ${bytes(planned[kind])}`}
          />
        ))}
      </div>
      <p class="memory-sum faint">
        {bytes(total)} planned, {bytes(Math.max(0, plan.budgetBytes - total))} free of a budget of{" "}
        {bytes(plan.budgetBytes)}
        {now !== undefined &&
          ` · ${bytes(now.lockedBytes)} locked · the server's own process: ${bytes(now.serverRssBytes)}`}
      </p>
      <table class="memory-kinds">
        <thead>
          <tr>
            <th scope="col">Kind</th>
            <th scope="col">Planned</th>
            {now !== undefined && <th scope="col">In use</th>}
          </tr>
        </thead>
        <tbody>
          {shown.map(([kind, name, color]) => (
            <tr key={kind}>
              <th scope="row">
                <i style={{ background: `var(${kind === "pinned" && mapped ? "--mapped" : color})` }} />
                {kind === "pinned" && mapped ? "Weights, mapped" : name}
              </th>
              <td>{bytes(planned[kind])}</td>
              {now !== undefined && <td>{inUse(kind, now, mapped)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inUse(kind: keyof PlanBytes, now: MemoryNow, mapped: boolean): string {
  switch (kind) {
    case "pinned":
      return mapped ? "as the system has it" : bytes(now.pinnedBytes - now.slotBytes);
    case "expertSlots":
      return bytes(now.slotBytes);
    case "ring":
      return bytes(now.ringBytes);
    case "kv":
      return bytes(now.kvTouchedBytes);
    case "activations":
      return bytes(now.activationTouchedBytes);
    default:
      return "–";
  }
}
