/** Which methods a path answers, for the header of a 405: read from the routes themselves. */
import type { Hono } from "hono";

/** @returns undefined for a path of no route; paths are without a slash at the end */
export function allowedMethods(app: Hono): (path: string) => string | undefined {
  const routes = app.routes.filter(({ method, path }) => method !== "ALL" && !path.endsWith("*"));
  const patterns = routes.map(({ method, path }) => ({ method, path, pattern: patternOf(path) }));
  return (path) => {
    const fitting = patterns.filter(({ pattern }) => pattern.test(path));
    // A route of this very path goes before one with a name in its place.
    const own = fitting.filter((route) => route.path === path);
    const found = new Set((own.length > 0 ? own : fitting).map(({ method }) => method));
    if (found.size === 0) return undefined;
    // Whoever answers GET answers HEAD.
    if (found.has("GET")) found.add("HEAD");
    return [...found].sort().join(", ");
  };
}

/** `/v1/models/:id{.+}` -> everything below `/v1/models`. */
function patternOf(path: string): RegExp {
  const text = path
    .split("/")
    .map((part) => {
      const [, pattern] = /^:[^{]+(?:\{(.+)\})?$/.exec(part) ?? [];
      if (part.startsWith(":")) return `(?:${pattern ?? "[^/]+"})`;
      return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    })
    .join("/");
  return new RegExp(`^${text}$`);
}
