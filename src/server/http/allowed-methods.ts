/** Which methods a path answers, for the header of a 405: read from the routes themselves. */
import type { Hono } from "hono";

/** @returns undefined for a path of no route; paths are without a slash at the end */
export function allowedMethods(app: Hono): (path: string) => string | undefined {
  const routes = app.routes.filter(({ method, path }) => method !== "ALL" && !path.endsWith("*"));
  const patterns = routes.map(({ method, path }) => ({ method, pattern: patternOf(path) }));
  return (path) => {
    const found = new Set(patterns.flatMap(({ method, pattern }) => (pattern.test(path) ? [method] : [])));
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
