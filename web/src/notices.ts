/** Short messages at the edge of the page: what failed, what was done. */
import { Store } from "./store.js";

export interface Notice {
  readonly id: number;
  readonly kind: "error" | "done";
  readonly text: string;
  readonly action?: { readonly name: string; readonly run: () => void };
}

export const notices = new Store<readonly Notice[]>([]);
/** For screen readers: the beginning and the end of things, not every word. */
export const announced = new Store<string>("");

let last = 0;

export function notify(kind: Notice["kind"], text: string, action?: Notice["action"]): void {
  const notice: Notice = { id: ++last, kind, text, ...(action !== undefined && { action }) };
  notices.set((before) => [...before.slice(-3), notice]);
  setTimeout(() => dismiss(notice.id), kind === "error" || action !== undefined ? 10_000 : 3000);
}

export function dismiss(id: number): void {
  notices.set((before) => before.filter((notice) => notice.id !== id));
}

/** Runs what may fail and says so. */
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    notify("error", error instanceof Error ? error.message : String(error));
    return undefined;
  }
}
