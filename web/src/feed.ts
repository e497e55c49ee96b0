/** The server's live state: its model, the plan, the charts' samples. One stream for the whole page. */
import type {
  MachineEvent,
  MemoryNow,
  PageState,
  PassCosts,
  PlanSummary,
  PullState,
  Sample,
} from "../../src/server/ui/wire.js";
import { apiKey, events } from "./api.js";
import { notify } from "./notices.js";
import { Store } from "./store.js";

export interface Feed {
  /** Undefined until the first attempt ended. */
  readonly linked: boolean | undefined;
  /** The server wants a key. */
  readonly locked: boolean;
  readonly state: PageState | undefined;
  readonly plan: PlanSummary | undefined;
  readonly samples: readonly Sample[];
  readonly memory: MemoryNow | undefined;
  /** The costs of the model's passes. */
  readonly costs: PassCosts | undefined;
  /** Models that are fetched. */
  readonly pulls: readonly PullState[];
  /** Changes when the list of conversations may have. */
  readonly conversations: number;
}

/** As many samples as the server keeps. */
const maxSamples = 1200;

export const feed = new Store<Feed>({
  linked: undefined,
  locked: false,
  state: undefined,
  plan: undefined,
  samples: [],
  memory: undefined,
  costs: undefined,
  pulls: [],
  conversations: 0,
});

let end = () => {};

export function startFeed(): void {
  end();
  end = events<MachineEvent>("/ui/machine/events", {
    onEvent: (event) => feed.set((before) => ({ ...before, linked: true, ...take(before, event) })),
    onLink: (linked) => feed.set((before) => ({ ...before, linked, locked: false })),
    onRefused: (error) => feed.set((before) => ({ ...before, linked: false, locked: error.status === 401 })),
  });
}

function take(before: Feed, event: MachineEvent): Partial<Feed> {
  switch (event.type) {
    case "state":
      if (before.state !== undefined && before.state.startedAt !== event.state.startedAt)
        notify("done", "The server was started again.");
      return { state: event.state };
    case "plan":
      return { plan: event.plan ?? undefined };
    case "history":
      return { samples: event.samples };
    case "sample":
      return { samples: [...before.samples.slice(1 - maxSamples), event.sample] };
    case "memory":
      return { memory: event.memory ?? undefined };
    case "costs":
      return { costs: event.costs ?? undefined };
    case "pulls":
      return { pulls: event.pulls };
    case "conversations":
      return { conversations: before.conversations + 1 };
  }
}

export function unlock(key: string): void {
  apiKey.set(key);
  startFeed();
}
