/**
 * Connections whose first request has not come whole. Each address has a bounded number of them; beyond it the oldest
 * gives way, so that whoever opens thousands and says nothing keeps nobody out, at the same address neither.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

export const maxHalfOpen = 256;

/**
 * @param headersMs a connection that has sent no request's headers by then is closed
 */
export function boundHalfOpen(server: Server, headersMs: number, most = maxHalfOpen): void {
  const waiting = new Map<string, Set<Socket>>();
  const leave = (address: string, socket: Socket): void => {
    const sockets = waiting.get(address);
    if (sockets?.delete(socket) && sockets.size === 0) waiting.delete(address);
  };
  const leaving = new WeakMap<Socket, () => void>();
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    const sockets = waiting.get(address) ?? new Set();
    waiting.set(address, sockets);
    sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), headersMs).unref();
    const done = (): void => {
      clearTimeout(timer);
      leave(address, socket);
    };
    leaving.set(socket, done);
    socket.once("close", done);
    // The first of the set is the oldest.
    if (sockets.size > most) for (const oldest of sockets) return void oldest.destroy();
  });
  const arrived = (socket: Socket): void => {
    // Under TLS the request's socket is the one that decrypts; `connection` told of the one below.
    const below = (socket as Socket & { readonly _parent?: Socket })._parent;
    leaving.get(socket)?.();
    if (below !== undefined) leaving.get(below)?.();
  };
  server.prependListener("request", ({ socket }: IncomingMessage) => arrived(socket));
}
