/** Clients that are slow, odd or malicious within the rules of HTTP. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { before, describe, it } from "node:test";
import type { RunningServer } from "../../src/server/index.js";
import { FakeEngine, type FakeJob } from "./fake-engine.js";
import * as shapes from "./shapes.js";
import {
  chatModel,
  demoModel,
  needsThreads,
  postJson,
  postRoutes,
  serveFake,
  serveForTests,
  sseEvents,
  until,
} from "./support.js";

const ask = { messages: [{ role: "user", content: "hello" }] };
const quick = (job: FakeJob): void => {
  job.token("yes");
  job.finish();
};

/** All that comes until the server closes the connection, or `ms` have passed. */
function exchange(server: RunningServer, message: string, ms = 5000): Promise<string> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname, () => socket.write(message));
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => {
      text += chunk;
    });
    const end = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text);
    };
    const timer = setTimeout(end, ms);
    socket.on("error", () => {});
    socket.on("close", end);
  });
}

const request = (line: string, ...headers: string[]): string =>
  [line, "host: localhost", "connection: close", ...headers, "\r\n"].join("\r\n");
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);

describe("odd requests", () => {
  let server: RunningServer;
  const engine = new FakeEngine(quick);
  before(async () => {
    server = await serveFake(engine, { maxBodyBytes: 100_000 });
  });

  it("answers HEAD and OPTIONS on every route, with nothing computed", async () => {
    const gets = ["/", "/health", "/ready", "/metrics", "/openapi.json", "/v1/models"];
    for (const path of [...gets, ...postRoutes, "/nothing"]) {
      const head = await fetch(server.url + path, { method: "HEAD" });
      const wanted = gets.includes(path) ? [200] : path === "/nothing" ? [404] : [405];
      assert.ok(wanted.includes(head.status), `HEAD ${path}: ${head.status}`);
      assert.equal(await head.text(), "");
      const options = await fetch(server.url + path, { method: "OPTIONS" });
      assert.equal(options.status, path === "/nothing" ? 404 : 405, `OPTIONS ${path}`);
      shapes.failure.parse(await options.json());
    }
    assert.equal(engine.jobs.length, 0);
  });

  it("takes a slash at the end of a route", async () => {
    for (const path of ["/health/", "/ready/", "/metrics/", "/openapi.json/", "/v1/models/", "/ui/conversations/"])
      assert.equal((await fetch(server.url + path)).status, 200, path);
    for (const path of postRoutes) {
      const answer = await postJson(`${server.url + path}/`, {});
      assert.equal(answer.status, 400, path);
      assert.equal((await fetch(`${server.url + path}/`)).status, 405, path);
    }
    for (const path of ["/health//", "/nothing/"]) assert.equal((await fetch(server.url + path)).status, 404, path);
    const metrics = await (await fetch(`${server.url}/metrics/`)).text();
    assert.match(metrics, /route="\/v1\/chat\/completions",status="400"/);
  });

  it("knows no path but its own", async () => {
    const paths = [
      "/%00",
      "/v1/models/%00",
      "/v1/models/..%2f..%2fetc%2fpasswd",
      "/..%2f..%2fetc%2fpasswd",
      "/assets/%2e%2e/%2e%2e/package.json",
    ];
    paths.push(
      "/assets/..%5c..%5cpackage.json",
      "/ui/conversations/..%2f..%2fx",
      "/%",
      "/%ff",
      "/%c0%ae%c0%ae/",
      "/v1//models",
      "/v1/models/%",
    );
    for (const path of paths) {
      for (const method of ["GET", "DELETE"]) {
        const answer = await exchange(server, request(`${method} ${path} HTTP/1.1`));
        const status = statusOf(answer);
        assert.ok(status >= 400 && status < 500, `${method} ${path}: ${answer.slice(0, 200)}`);
        assert.doesNotMatch(answer, /root:|"hundredweight",/, path);
      }
    }
  });

  it("refuses lengths and headers that contradict themselves", async () => {
    const body = JSON.stringify(ask);
    const post = (...headers: string[]): string => request("POST /v1/chat/completions HTTP/1.1", ...headers);
    const cases: readonly [what: string, sent: string, status: number][] = [
      ["a terabyte", post("content-length: 1099511627776") + body, 413],
      ["2^53 + 1", post("content-length: 9007199254740993"), 413],
      ["2^64 + 1", post("content-length: 18446744073709551617"), 400],
      ["a fraction", post("content-length: 1.5"), 400],
      ["hexadecimal", post("content-length: 0x10"), 400],
      ["two lengths", post(`content-length: ${body.length}`, "content-length: 1") + body, 400],
      ["two names", request("GET /health HTTP/1.1", "host: evil.example"), 403],
      ["no name", "GET /health HTTP/1.0\r\n\r\n", 400],
      ["a header over two lines", request("GET /health HTTP/1.1", "x: a", " b"), 400],
    ];
    for (const [what, sent, status] of cases) assert.equal(statusOf(await exchange(server, sent)), status, what);
    const twice = ["content-type: application/json", "content-type: text/plain", "accept: a", "accept: b"];
    const answer = await exchange(server, post(`content-length: ${body.length}`, ...twice) + body);
    assert.equal(statusOf(answer), 200, "headers that may come twice");
    const upgrade = ["upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version: 13"];
    const socket = [`GET /v1/models HTTP/1.1`, "host: localhost", "connection: upgrade, close", ...upgrade, "\r\n"];
    assert.equal(
      statusOf(await exchange(server, socket.join("\r\n"))),
      200,
      "an upgrade that is not offered is no upgrade",
    );
  });

  it("lets nobody take a key for another by its beginning, its case or two headers", async () => {
    const locked = await serveFake(new FakeEngine(quick), { apiKeys: ["sesame"] });
    const status = async (...headers: string[]): Promise<number> =>
      statusOf(await exchange(locked, request("GET /v1/models HTTP/1.1", ...headers)));
    const wrong = ["sesam", "sesame1", "SESAME", "", "sesame,sesame", "sesame\u0000", "%73esame"];
    for (const key of wrong) assert.ok((await status(`authorization: Bearer ${key}`)) >= 400, `'${key}'`);
    assert.equal(await status("authorization: Bearer wrong", "authorization: Bearer sesame"), 401);
    assert.equal(await status("x-api-key: wrong", "x-api-key: sesame"), 401);
    for (const key of wrong) assert.ok((await status(`x-api-key: ${key}`)) >= 400, `'${key}'`);
    assert.equal(await status("authorization: Bearer sesame"), 200);
  });

  it("reads bodies of many connections only as far as memory allows", async () => {
    const roomy = await serveFake(new FakeEngine(quick), { maxBodyBytes: 16 * 2 ** 20 });
    const { hostname, port } = new URL(roomy.url);
    const large = 12 * 2 ** 20;
    const answers: string[] = [];
    const sockets = Array.from({ length: 8 }, (): Socket => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(`POST /tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${large}\r\n\r\n`);
        socket.write(Buffer.alloc(large - 1, 0x20)); // all but the end
      });
      socket.setEncoding("latin1");
      socket.on("data", (text) => answers.push(String(text)));
      socket.on("error", () => {});
      return socket;
    });
    await until(() => answers.length >= 3, "those that are too many are refused", 60_000);
    for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 429 .*retry-after.*too_many_bytes/is);
    assert.equal((await postJson(`${roomy.url}/v1/chat/completions`, ask)).status, 200, "small ones pass");
    for (const socket of sockets) socket.destroy();
    await until(() => roomy.context.gate.count === 0, "nothing is left");
    const content = "a ".repeat(500_000);
    // One after the other: each that is refused while it is sent may lose its connection.
    const pass = async (): Promise<number> =>
      (await postJson(`${roomy.url}/tokenize`, { content }).catch(() => undefined))?.status ?? 0;
    const end = performance.now() + 60_000;
    let status = await pass();
    while (status !== 200 && performance.now() < end) status = await pass();
    assert.equal(status, 200, "large ones pass again");
  });
});

describe("slow readers", () => {
  it("waits for one that reads byte by byte, and answers others meanwhile", async () => {
    const engine = new FakeEngine();
    const server = await serveFake(engine, { stallTimeoutMs: 1500 });
    const { hostname, port } = new URL(server.url);
    const body = JSON.stringify({ ...ask, stream: true });
    let read = 0;
    let closed = false;
    const socket = connect(Number(port), hostname, () => {
      socket.write(
        `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    });
    socket.pause();
    socket.on("error", () => {});
    socket.on("close", () => {
      closed = true;
    });
    const sips = setInterval(() => {
      if (socket.read(1) !== null) read++;
    }, 50);
    const job = await engine.next();
    const word = "word ".repeat(2000);
    let made = 0;
    await until(() => {
      for (let i = 0; i < 20 && !job.paused && !job.cancelled; i++, made++) job.token(word);
      return job.paused;
    }, "the engine is told to pause");
    const other = postJson(`${server.url}/v1/chat/completions`, ask);
    await until(() => engine.jobs.length === 2, "another's job comes");
    quick(engine.jobs[1]!);
    assert.equal((await other).status, 200);
    assert.ok(made * word.length < 64e6, `${made * word.length} bytes were taken`);
    await until(() => {
      for (let i = 0; i < 20 && !job.paused && !job.cancelled; i++) job.token(word);
      return job.cancelled;
    }, "a reader far below 27 bytes a second is dropped in the end");
    await until(() => server.context.gate.count === 0, "its place is given back");
    clearInterval(sips);
    assert.ok(read > 0);
    socket.destroy();
    await until(() => closed, "closed");
  });
});

describe("code points in pieces", { skip: needsThreads }, () => {
  it("never sends half of one, whatever bytes the tokens have", async () => {
    const server = await serveForTests({ modelPath: demoModel });
    const content = "\u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u00e9\u20ac\u{1f600}\u{1f3fd}";
    const { tokens } = (await (await postJson(`${server.url}/tokenize`, { content, with_pieces: true })).json()) as {
      tokens: { id: number; piece: string | number[] }[];
    };
    const bytes = tokens.filter(({ piece }) => Array.isArray(piece)).map(({ id }) => id);
    assert.ok(bytes.length >= 8, "the text is made of single bytes");
    const logit_bias = Object.fromEntries(bytes.map((id) => [id, 100]));
    let chunks = 0;
    for (let seed = 0; seed < 6; seed++) {
      const asked = {
        prompt: "king",
        max_tokens: 120,
        seed,
        temperature: 1,
        top_k: 0,
        top_p: 1,
        min_p: 0,
        logit_bias,
        ignore_eos: true,
      };
      const whole = shapes.completion.parse(await (await postJson(`${server.url}/v1/completions`, asked)).json());
      const text = await (await postJson(`${server.url}/v1/completions`, { ...asked, stream: true })).text();
      const pieces = sseEvents(text)
        .filter((event) => event.startsWith("data: {"))
        .flatMap((event) => JSON.parse(event.slice(6)).choices.map((choice: { text: string }) => choice.text));
      for (const piece of pieces) assert.equal(piece, Buffer.from(piece, "utf8").toString("utf8"), "a lone surrogate");
      assert.equal(pieces.join(""), whole.choices[0]!.text);
      chunks += pieces.length;
    }
    assert.ok(chunks > 60, `${chunks} chunks`);
  });

  it("answers a family of three as it was asked", async () => {
    const server = await serveFake(new FakeEngine(), {}, await chatModel());
    const content = "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}".repeat(50);
    const { tokens } = (await (await postJson(`${server.url}/tokenize`, { content })).json()) as { tokens: number[] };
    const back = await (await postJson(`${server.url}/detokenize`, { tokens })).json();
    assert.deepEqual(back, { content });
  });
});
