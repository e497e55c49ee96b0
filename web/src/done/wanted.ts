/** Whether one wants to be told when a long answer is done: asked for once, by a click. */
import { Store } from "../store.js";

const name = "hundredweight.tell";

export type Wanted = "yes" | "no" | undefined;

const able = "Notification" in globalThis && isSecureContext;

function stored(): Wanted {
  if (!able) return "no";
  const value = localStorage.getItem(name);
  return value === "no" || (value === "yes" && Notification.permission === "granted") ? value : undefined;
}

export const wanted = new Store<Wanted>(stored());

function remember(value: "yes" | "no"): void {
  localStorage.setItem(name, value);
  wanted.set(value);
}

/** Asks the browser, which asks its user. */
export async function ask(): Promise<void> {
  remember((await Notification.requestPermission()) === "granted" ? "yes" : "no");
}

export function decline(): void {
  remember("no");
}

export function tell(title: string, onClick: () => void): void {
  if (wanted.value !== "yes") return;
  const notification = new Notification("The answer is ready", { body: title, tag: "hundredweight" });
  notification.onclick = () => {
    window.focus();
    onClick();
    notification.close();
  };
}
