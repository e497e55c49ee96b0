/** Which view is shown: the part of the address behind #. */
import { Store } from "./store.js";

export type Route =
  | { readonly view: "chat"; readonly conversation: string | undefined }
  | { readonly view: "machine" }
  | { readonly view: "models" };

function read(): Route {
  const [, view, id] = location.hash.split("/");
  if (view === "machine" || view === "models") return { view };
  return { view: "chat", conversation: view === "c" && id !== "" ? id : undefined };
}

export const route = new Store<Route>(read());
addEventListener("hashchange", () => route.set(read()));

export const paths = {
  chat: (conversation?: string) => (conversation === undefined ? "#/" : `#/c/${conversation}`),
  machine: "#/machine",
  models: "#/models",
};

export function go(path: string, replace = false): void {
  if (replace) {
    history.replaceState(null, "", path);
    route.set(read());
  } else location.hash = path;
}
