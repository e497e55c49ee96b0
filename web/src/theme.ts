/** As the system has it, or dark, or light; charts are told, since they paint by themselves. */
import { Store } from "./store.js";

export type Theme = "system" | "light" | "dark";

const name = "hundredweight.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored(): Theme {
  const value = localStorage.getItem(name);
  return value === "dark" || value === "light" ? value : "system";
}

export const theme = new Store<Theme>(stored());
export const isDark = new Store<boolean>(false);

function apply(): void {
  const chosen = theme.value;
  isDark.set(chosen === "dark" || (chosen === "system" && dark.matches));
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

export function chooseTheme(chosen: Theme): void {
  if (chosen === "system") localStorage.removeItem(name);
  else localStorage.setItem(name, chosen);
  theme.set(chosen);
  apply();
}

apply();
dark.addEventListener("change", apply);
