/** Readers who never read: what waits for them is bounded for all together, and others get whole answers. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { connect, type Socket } from "node:net";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { exited, firstOf } from "../support/wait.js";
import { FakeEngine } from "./fake-engine.js";
import { anonymousBytes } from "./soak-memory.js";
import { chatModel, needsThreads, postJson, serveFake, testFolder, until } from "./support.js";

const sockets: Socket[] = [];
after(() => {
  for (const socket of sockets) socket.destroy();
});

/** Asks, and takes nothing of the answer. */
function neverReads(url: string, path: string, body: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  socket.pause();
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  sockets.push(socket);
  return socket;
}

describe("answers that nobody takes", () => {
  it("of 20 readers of /tokenize who never read take a bounded memory, and those who read get whole answers", {
    skip:
      needsThreads || (anonymousBytes(process.pid) === undefined && "SKIPPED: the system tells no process's memory"),
    timeout: 240_000,
  }, async (t) => {
    const child = fork(
      fileURLToPath(new URL("./soak-server.js", import.meta.url)),
      [await chatModel(), testFolder(), "played"],
      { execArgv: ["--expose-gc"], stdio: ["ignore", "inherit", "inherit", "ipc"] },
    );
    let looking: NodeJS.Timeout | undefined;
    try {
      const { url } = await firstOf<{ url: string }>(child, "message");
      const content = "a b ".repeat(200_000);
      const body = JSON.stringify({ content, with_pieces: true });
      const small = async (): Promise<void> => {
        const answer = await postJson(`${url}/tokenize`, { content: "In the beginning", with_pieces: true });
        assert.equal(answer.status, 200);
        await answer.json();
      };
      await small();
      const before = anonymousBytes(child.pid)!;
      let most = before;
      looking = setInterval(() => {
        most = Math.max(most, anonymousBytes(child.pid) ?? 0);
      }, 50);
      for (let i = 0; i < 20; i++) neverReads(url, "/tokenize", body);
      await small();
      const wholes = await Promise.all(
        Array.from({ length: 3 }, async () => {
          let answer = await postJson(`${url}/tokenize`, body);
          // Beside so many of them, and on a busy machine, it may be told to come back.
          while (answer.status === 429 || answer.status === 503) {
            assert.ok(Number(answer.headers.get("retry-after")) > 0);
            await answer.text();
            await new Promise((resolve) => setTimeout(resolve, 1000));
            answer = await postJson(`${url}/tokenize`, body);
          }
          assert.equal(answer.status, 200);
          return (await answer.json()) as { tokens: { id: number; piece: string }[]; count: number };
        }),
      );
      await small();
      for (const { tokens, count } of wholes) {
        assert.equal(tokens.length, count);
        assert.equal(tokens.map(({ piece }) => piece).join(""), content, "every piece is there, in order");
      }
      const grown = (most - before) / 1e6;
      t.diagnostic(`20 readers that never read: at most ${grown.toFixed(0)} MB more than at rest`);
      assert.ok(grown < 200, `${grown.toFixed(0)} MB`);
    } finally {
      clearInterval(looking);
      child.send("stop");
      await exited(child);
    }
  });

  it("give way to others on every route, those who take nothing for longest first", async () => {
    const text = "word ".repeat(1_200_000);
    const engine = new FakeEngine((job) => {
      job.token(text);
      job.finish();
    });
    const server = await serveFake(engine, { maxUntakenBytes: 16 * 2 ** 20 });
    const { untaken } = server.context;
    const ask = JSON.stringify({ messages: [{ role: "user", content: "hello" }] });
    const first = neverReads(server.url, "/v1/chat/completions", ask);
    let firstClosed = false;
    first.on("close", () => {
      firstClosed = true;
    });
    first.on("end", () => {
      firstClosed = true;
    });
    await until(() => untaken.bytes > 0, "the first answer waits");
    for (let i = 0; i < 9; i++) neverReads(server.url, "/v1/chat/completions", ask);
    await until(() => untaken.cut > 0 && untaken.bytes <= untaken.limits.mostBytes, "readers were cut", 60_000);
    first.resume();
    await until(() => firstClosed, "the one that took nothing for longest was cut");
    for (let i = 0; i < 3; i++) {
      const answer = await postJson(`${server.url}/v1/chat/completions`, ask);
      const { choices } = (await answer.json()) as { choices: [{ message: { content: string } }] };
      assert.equal(choices[0].message.content, text);
    }
    for (const socket of sockets.splice(0)) socket.destroy();
    await until(() => untaken.bytes === 0, "nothing is left of those who went away");
  });

  it("keep a large one waiting for its turn, and a small one not", async () => {
    const server = await serveFake(new FakeEngine(() => {}), { maxUntakenBytes: 2 ** 20, maxBodyBytes: 2 ** 24 });
    const { untaken } = server.context;
    const held = untaken.hold(undefined, 2 ** 20);
    const content = "hello ".repeat(30_000);
    let answered = false;
    const large = postJson(`${server.url}/tokenize`, { content }).then(async (answer) => {
      answered = true;
      return (await answer.json()) as { tokens: number[]; count: number };
    });
    const small = await postJson(`${server.url}/tokenize`, { content: "hello hello" });
    assert.equal(small.status, 200);
    await small.json();
    assert.equal(answered, false);
    held.release();
    const { tokens, count } = await large;
    assert.equal(tokens.length, count);
    const decoded = await postJson(`${server.url}/detokenize`, { tokens });
    assert.equal(((await decoded.json()) as { content: string }).content, content);
    await until(() => untaken.bytes === 0, "nothing is held");
  });
});
