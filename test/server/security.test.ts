/** Tests of who may use the server, and of what bad input does to it. */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { type RunningServer, startServer } from "../../src/server/index.js";
import { FakeEngine, type FakeJob } from "./fake-engine.js";
import * as shapes from "./shapes.js";
import { chatModel, type FailureBody, postJson, postRoutes, serveFake, testFolder, until } from "./support.js";

const ask = { messages: [{ role: "user", content: "hello" }] };

const quick = (job: FakeJob): void => {
  job.token("yes");
  job.finish();
};

/** The answer to a raw socket until the server closes it, or `ms` have passed. */
function raw(
  server: RunningServer,
  send: (socket: Socket) => void,
  ms = 8000,
): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    let text = "";
    const end = (closed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text, closed });
    };
    const timer = setTimeout(() => end(false), ms);
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("error", () => {});
    socket.on("close", () => end(true));
    socket.on("connect", () => send(socket));
  });
}

const status = async (response: Promise<Response>): Promise<[number, unknown]> => {
  const { status, ...rest } = await response.then(async (r) => ({ status: r.status, body: await r.json() }));
  return [status, (rest.body as FailureBody).error?.code];
};

describe("who may use it", { concurrency: 2 }, () => {
  it("refuses other addresses without a key", async () => {
    const modelPath = await chatModel();
    for (const host of ["0.0.0.0", "::", "192.168.1.7", "example.org"]) {
      await assert.rejects(startServer({ modelPath, config: { host, port: 0 } }), /--api-key/);
    }
  });

  it("wants the key on every route but /health, and for more than the status of /ready", async () => {
    const server = await serveFake(new FakeEngine(quick), { apiKeys: ["first-key", "second"] });
    for (const route of ["/health", "/health/"]) {
      const open = await fetch(server.url + route);
      assert.deepEqual([open.status, await open.json()], [200, { status: "ok" }]);
    }
    const ready = await fetch(`${server.url}/ready`, { headers: { authorization: "Bearer wrong" } });
    assert.deepEqual([ready.status, await ready.json()], [200, { status: "ready" }]);
    const known = await fetch(`${server.url}/ready`, { headers: { authorization: "Bearer second" } });
    assert.ok("answers" in ((await known.json()) as object));
    const routes = ["/", "/metrics", "/openapi.json", "/v1/models", "/nothing", "//health", "/HEALTH"];
    for (const route of routes) {
      for (const authorization of [
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer first-ke",
        "Bearer first-key2",
        "Basic eDp5",
      ]) {
        const answer = await fetch(`${server.url}${route}`, { headers: { authorization } });
        assert.equal(answer.status, 401, `${route} with '${authorization}'`);
        shapes.failure.parse(await answer.json());
      }
    }
    for (const route of postRoutes) {
      assert.equal((await postJson(server.url + route, ask)).status, 401, route);
    }
    for (const authorization of ["Bearer first-key", "bearer second", `Basic ${btoa("anyone:first-key")}`]) {
      assert.equal((await fetch(`${server.url}/metrics`, { headers: { authorization } })).status, 200, authorization);
    }
    // Anthropic's clients send it under another name, some beside an `Authorization` that is for somebody else.
    for (const headers of [
      { "x-api-key": "second" },
      { "x-api-key": "first-key", authorization: "Bearer wrong" },
      { "x-api-key": "wrong", authorization: "Bearer second" },
    ])
      assert.equal((await fetch(`${server.url}/metrics`, { headers })).status, 200, JSON.stringify(headers));
    for (const key of ["", "wrong", "first-ke", "first-key, second"])
      assert.equal((await fetch(`${server.url}/v1/models`, { headers: { "x-api-key": key } })).status, 401, key);
    const browser = await fetch(server.url, { headers: { accept: "text/html" } });
    assert.match(
      browser.headers.get("www-authenticate")!,
      /^Basic realm="hundredweight: any name; the password is a key /,
    );
  });

  it("answers for its own names only", async () => {
    const server = await serveFake(new FakeEngine(), { allowHosts: ["box.local"] });
    const { app } = server;
    const by = async (host: string): Promise<number> => (await app.request("/health", { headers: { host } })).status;
    const own = [
      "localhost",
      "LOCALHOST:80",
      "127.0.0.1:8471",
      "[::1]:8471",
      "192.168.1.7",
      "box.local:1",
      "Box.Local",
    ];
    for (const host of own) assert.equal(await by(host), 200, host);
    for (const host of [
      "evil.example",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "box.local.",
      "",
      "a b",
      "127.1@x",
    ]) {
      assert.equal(await by(host), 403, host);
    }
  });

  it("keeps pages of other origins out unless told", async () => {
    const closed = await serveFake(new FakeEngine());
    const { app } = closed;
    const from = (origin: string, init: RequestInit = {}) =>
      app.request("/health", { ...init, headers: { host: "localhost:8471", origin } });
    assert.equal((await from("http://localhost:8471")).status, 200);
    for (const origin of [
      "http://localhost:3000",
      "http://evil.example",
      "null",
      "file://",
      "http://localhost:8471.evil.example",
    ]) {
      const answer = await from(origin);
      assert.equal(answer.status, 403, origin);
      assert.equal(answer.headers.get("access-control-allow-origin"), null);
      const asked = await from(origin, { method: "OPTIONS" });
      assert.equal(asked.headers.get("access-control-allow-origin"), null);
      assert.equal(asked.headers.get("access-control-allow-methods"), null);
    }
    const open = await serveFake(new FakeEngine(), { corsOrigins: ["https://app.example"], apiKeys: ["k"] });
    const { app: app2 } = open;
    const headers = { host: "localhost", origin: "https://app.example" };
    const preflight = await app2.request("/v1/chat/completions", { method: "OPTIONS", headers });
    assert.equal(preflight.status, 200);
    assert.equal(preflight.headers.get("access-control-allow-origin"), "https://app.example");
    assert.match(preflight.headers.get("access-control-allow-headers")!, /authorization/);
    const keyless = await app2.request("/v1/models", { headers });
    assert.equal(keyless.status, 401);
    const other = await app2.request("/v1/models", { headers: { ...headers, origin: "https://other.example" } });
    assert.equal(other.status, 403);
    const { app: app3 } = await serveFake(new FakeEngine(), { corsOrigins: ["localhost"] });
    const asks = async (origin: string) =>
      (await app3.request("/health", { headers: { host: "localhost:8471", origin } })).headers.get(
        "access-control-allow-origin",
      );
    for (const origin of ["http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1"]) {
      assert.equal(await asks(origin), origin);
    }
    for (const origin of ["http://notlocalhost", "http://localhost.evil.example", "http://127.0.0.1.evil.example"]) {
      assert.equal(await asks(origin), null, origin);
    }
  });

  it("speaks TLS", async () => {
    // A throwaway certificate of the test's own, made by the system's openssl.
    const { spawnSync } = await import("node:child_process");
    const { readFileSync } = await import("node:fs");
    const folder = testFolder();
    const args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split(
      " ",
    );
    const made = spawnSync("openssl", [...args, "-keyout", `${folder}/key.pem`, "-out", `${folder}/cert.pem`]);
    if (made.status !== 0) {
      console.log("SKIPPED: no openssl to make a certificate with; TLS is not tested");
      return;
    }
    const tls = { cert: readFileSync(`${folder}/cert.pem`, "utf8"), key: readFileSync(`${folder}/key.pem`, "utf8") };
    const server = await serveFake(new FakeEngine(quick), { tls });
    assert.match(server.url, /^https:/);
    const { get } = await import("node:https");
    const answered = await new Promise<number | undefined>((resolve, reject) => {
      get(`${server.url}/health`, { ca: tls.cert, servername: "localhost" }, (r) => resolve(r.statusCode)).on(
        "error",
        reject,
      );
    });
    assert.equal(answered, 200);
  });
});

describe("bad input", () => {
  let server: RunningServer;
  let chat: string;
  const engine = new FakeEngine(quick);
  const logged: string[] = [];

  before(async () => {
    const config = { headersTimeoutMs: 700, receiveTimeoutMs: 1200, maxBodyBytes: 200_000, maxContainers: 65_000 };
    server = await serveFake(engine, config, undefined, (line) => logged.push(line));
    chat = `${server.url}/v1/chat/completions`;
  });

  it("survives bodies that are no JSON, too large, too deep, too many, not UTF-8", async () => {
    const bodies: readonly [string, string | Uint8Array, number, string | null][] = [
      ["nothing", "", 400, null],
      ["no JSON", "{messages", 400, "invalid_json"],
      ["a list", "[]", 400, "invalid_json"],
      ["null", "null", 400, "invalid_json"],
      ["two objects", "{}{}", 400, "invalid_json"],
      ["deep lists", "[".repeat(150_000), 400, "too_deep"],
      ["deep objects", '{"a":'.repeat(30_000), 400, "too_deep"],
      [
        "deep inside",
        `{"messages":[{"role":"user","content":"a","x":${"[".repeat(70)}${"]".repeat(70)}}]}`,
        400,
        "too_deep",
      ],
      ["many", `{"messages":[${"{},".repeat(60_000)}{}]}`, 400, "invalid_value"],
      ["too many", `{"messages":[${"[],".repeat(66_000)}[]]}`, 400, "too_complex"],
      ["too large", `{"messages":"${"a".repeat(200_000)}"}`, 413, "body_too_large"],
      [
        "broken UTF-8",
        Buffer.concat([Buffer.from('{"messages":"'), Buffer.from([0xff, 0xfe, 0xc0, 0x80]), Buffer.from('"}')]),
        400,
        "invalid_json",
      ],
      ["cut UTF-8", Buffer.from('{"messages":"\u00e9').subarray(0, 14), 400, "invalid_json"],
      ["prototype", '{"__proto__":{"messages":[]},"constructor":1}', 400, "invalid_value"],
    ];
    for (const [what, body, wantedStatus, wantedCode] of bodies) {
      const answer = await postJson(chat, body as string);
      const { error } = shapes.failure.parse(await answer.json());
      assert.deepEqual([answer.status, error.code], [wantedStatus, wantedCode], what);
    }
    assert.equal(({} as { messages?: unknown }).messages, undefined);
  });

  it("tells of bodies that are compressed, and is silent about those that end too soon", async () => {
    const headers = { "content-encoding": "gzip" };
    const packed = await postJson(chat, gzipSync(JSON.stringify(ask)) as unknown as string, { headers });
    assert.equal(packed.status, 415);
    assert.match(shapes.failure.parse(await packed.json()).error.message, /'gzip'/);
    const before = logged.length;
    const head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    const ends = ["content-length: 50\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n5\r\n{"];
    await Promise.all(ends.map((end) => raw(server, (s) => s.end(head + end), 3000)));
    assert.equal(await status(postJson(chat, ask)).then(([code]) => code), 200);
    assert.deepEqual(logged.slice(before), []);
  });

  it("bounds a body that never says how long it is", async () => {
    const piece = new TextEncoder().encode(" ".repeat(16_384));
    let sent = 0;
    const body = new ReadableStream({
      pull: (controller) => {
        sent += piece.length;
        if (sent > 50_000_000) controller.close();
        else controller.enqueue(piece);
      },
    });
    const request = fetch(chat, { method: "POST", body, duplex: "half" } as RequestInit);
    const code = await status(request).catch(() => "connection closed");
    assert.ok(code === "connection closed" || code[0] === 413, String(code));
    assert.ok(sent < 50_000_000, "all of it was read");
  });

  it("takes odd but right texts", async () => {
    const contents = [
      "\ud800 alone",
      "\u0000",
      "\ufeffmark",
      "e\u0301\u200d\u{1f468}\u200d\u{1f469}",
      "<|begin|>[INST]</s>",
      "{{ 1 / 0 }}{% for %}",
    ];
    for (const content of contents) {
      const answer = await postJson(chat, { messages: [{ role: "user", content }] });
      assert.equal(answer.status, 200, content);
      shapes.chatCompletion.parse(await answer.json());
    }
  });

  it("cuts connections that dawdle", async () => {
    const dawdlers: readonly [string, (socket: Socket) => void][] = [
      ["says nothing", () => {}],
      [
        "never ends its headers",
        (s) => {
          s.write("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n");
          const timer = setInterval(() => s.write("x-slow: 1\r\n"), 100);
          s.on("close", () => clearInterval(timer));
        },
      ],
      [
        "never ends its body",
        (s) => {
          s.write("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n{");
          const timer = setInterval(() => s.write(" "), 100);
          s.on("close", () => clearInterval(timer));
        },
      ],
    ];
    const ends = await Promise.all(dawdlers.map(([, send]) => raw(server, send, 15_000)));
    for (const [i, { closed }] of ends.entries()) assert.ok(closed, dawdlers[i]![0]);
  });

  it("survives what is no HTTP", async () => {
    const random = (seed: number): Buffer => {
      const bytes = Buffer.alloc(600);
      let x = seed;
      for (let i = 0; i < bytes.length; i++) {
        x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
        bytes[i] = x >>> 24;
      }
      return bytes;
    };
    const lines = (...all: string[]): string => `${all.join("\r\n")}\r\n\r\n`;
    const messages: (string | Buffer)[] = [
      "GARBAGE\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00", // a TLS client
      lines("GET / HTTP/9.9"),
      lines("GET / HTTP/1.1"), // no host
      lines("GET /\\..\\..\\etc\\passwd HTTP/1.1", "host: localhost"),
      lines("GET /../../etc/passwd HTTP/1.1", "host: localhost"),
      lines("GET http://evil.example/v1/models HTTP/1.1", "host: localhost"),
      lines("GET / HTTP/1.1", "host: localhost", "host: evil.example"),
      lines("GET / HTTP/1.1", "host: localhost", ...Array.from({ length: 400 }, (_, i) => `x-${i}: 1`)),
      lines("GET / HTTP/1.1", "host: localhost", `x: ${"a".repeat(40_000)}`),
      lines("POST /tokenize HTTP/1.1", "host: localhost", "content-length: -5"),
      lines("POST /tokenize HTTP/1.1", "host: localhost", "content-length: 5", "transfer-encoding: chunked"),
      `${lines("POST /tokenize HTTP/1.1", "host: localhost", "transfer-encoding: chunked")}zz\r\n`,
      lines("OPTIONS * HTTP/1.1", "host: localhost"),
      lines("CONNECT evil.example:80 HTTP/1.1", "host: localhost"),
      lines("GET / HTTP/1.1", "host: localhost", "upgrade: websocket", "connection: upgrade"),
      ...Array.from({ length: 40 }, (_, i) => random(i + 1)),
    ];
    for (const message of messages) await raw(server, (s) => s.end(message), 3000);
    await until(() => server.context.gate.count === 0, "nothing is left behind");
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
    assert.equal((await postJson(chat, ask)).status, 200);
  });

  it("speaks what old and careful clients speak", async () => {
    const body = JSON.stringify(ask);
    const post = (version: string, ...headers: string[]): string =>
      [`POST /v1/chat/completions HTTP/${version}`, "host: localhost", ...headers, "\r\n"].join("\r\n");
    const sized = `content-length: ${body.length}`;
    const close = "connection: close";
    const answers = (text: string): number => text.split('"object":"chat.completion"').length - 1;
    const exchanges: readonly [what: string, sent: string, answers: number, begins: RegExp][] = [
      ["HTTP/1.0", post("1.0", sized) + body, 1, /^HTTP\/1\.1 200 (?!.*chunked)/s],
      ["three at once", (post("1.1", sized) + body).repeat(2) + post("1.1", sized, close) + body, 3, /^HTTP\/1\.1 200/],
      ["a question first", post("1.1", sized, close, "expect: 100-continue") + body, 1, /^HTTP\/1\.1 100 Continue/],
      [
        "a byte a chunk",
        `${post("1.1", close, "transfer-encoding: chunked")}${body.replace(/./g, "1\r\n$&\r\n")}0\r\n\r\n`,
        1,
        /^HTTP\/1\.1 200/,
      ],
      ["a chunk that is longer", `${post("1.1", "transfer-encoding: chunked")}5\r\n${body}`, 0, /^HTTP\/1\.1 400/],
      ["a body that is longer", post("1.1", `content-length: ${body.length - 3}`) + body, 0, /^HTTP\/1\.1 400/],
    ];
    for (const [what, sent, wanted, begins] of exchanges) {
      const { text } = await raw(server, (s) => s.write(sent));
      assert.match(text, begins, what);
      assert.equal(answers(text), wanted, what);
    }
  });

  it("answers unknown routes and methods with an error object", async () => {
    const wanted: readonly [string, string, number][] = [
      ["GET", "/v1/nothing", 404],
      ["GET", "/v1/chat/completions", 405],
      ["DELETE", "/v1/models", 405],
      ["PUT", "/tokenize", 405],
    ];
    for (const [method, path, code] of wanted) {
      const answer = await fetch(server.url + path, { method });
      assert.equal(answer.status, code, `${method} ${path}`);
      shapes.failure.parse(await answer.json());
    }
  });
});
