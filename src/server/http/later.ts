/**
 * Routes whose code is loaded when the first of them is asked for. A server speaks ten APIs and most serve one or two:
 * the schemas of all of them would take more memory than all the rest of its process.
 */
import { type Handler, Hono } from "hono";

export interface LaterRoutes {
  /** Method and paths of each of its routes, as they are registered when the code is there. */
  readonly routes: readonly (readonly [method: string, ...paths: string[]])[];
  /** @returns what registers them */
  readonly load: () => Promise<(app: Hono) => void>;
  /** There is something for it to do, asked for or not. */
  readonly atOnce?: boolean;
}

/**
 * The routes are in the app from the start: their order, the methods of a path and what names in it mean are as ever.
 * The first request waits for the code.
 */
export function addLater(app: Hono, { routes, load, atOnce }: LaterRoutes, log: (line: string) => void): void {
  let loading: Promise<ReadonlyMap<string, Handler>> | undefined;
  const handlers = async (): Promise<ReadonlyMap<string, Handler>> => {
    loading ??= load().then(handlersOf);
    try {
      return await loading;
    } catch (error) {
      // A program that was exchanged under the server may be whole again at the next request.
      loading = undefined;
      throw error;
    }
  };
  if (atOnce === true) handlers().catch((error: Error) => log(`${routes[0]?.[1]}: ${error.message}`));
  for (const [method, ...paths] of routes) {
    for (const path of paths) {
      app.on(method, path, async (c, next) => {
        const handler = (await handlers()).get(keyOf(method, path));
        if (handler === undefined) throw new Error(`${method} ${path} is listed, and its code does not answer it`);
        return handler(c, next);
      });
    }
  }
}

/** Handlers that register themselves, by method and path. */
export function handlersOf(register: (app: Hono) => void): ReadonlyMap<string, Handler> {
  const app = new Hono();
  register(app);
  return new Map(app.routes.map(({ method, path, handler }) => [keyOf(method, path), handler as Handler]));
}

function keyOf(method: string, path: string): string {
  return `${method} ${path}`;
}
