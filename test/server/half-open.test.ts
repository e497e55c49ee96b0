/** Connections that say nothing keep nobody out. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { describe, it } from "node:test";
import { maxHalfOpen } from "../../src/server/http/half-open.js";
import { FakeEngine } from "./fake-engine.js";
import { serveFake, until } from "./support.js";

describe("half-open connections", () => {
  it("are bounded for an address, the oldest giving way, and others are answered meanwhile", async () => {
    const server = await serveFake(new FakeEngine(() => {}), { headersTimeoutMs: 60_000, maxConnections: 1024 });
    const port = Number(new URL(server.url).port);
    const sockets: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < 1500; i++) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.on("close", () => closed++);
      socket.on("connect", () => socket.write("GET /health HTTP/1.1\r\nhost: localhost\r\nx-slow: "));
      sockets.push(socket);
      if (i % 300 === 299) assert.equal((await fetch(`${server.url}/health`)).status, 200);
    }
    await until(() => closed >= 1500 - maxHalfOpen, "the oldest are closed");
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
    assert.ok(sockets.filter(({ destroyed }) => !destroyed).length <= maxHalfOpen);
    for (const socket of sockets) socket.destroy();
  });
});
