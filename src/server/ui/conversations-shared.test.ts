/** The folder of conversations under other servers, full disks and things that are no files. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { HundredweightError } from "../../errors.js";
import type { AnswerMaker, MadeAnswer } from "./answer-maker-types.js";
import { Answers } from "./answers.js";
import { decodeConversation } from "./conversation-file.js";
import { ConversationFolder } from "./conversation-folder.js";
import { ConversationStore } from "./conversations.js";
import { newId } from "./ids.js";
import type { Conversation, ConversationEvent, Message } from "./wire.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-shared-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const linux = process.platform !== "linux" && "SKIPPED: needs Linux";

const text = (place: string, id: string): string => readFileSync(join(place, `${id}.conversation.jsonl`), "utf8");
const message = (parent: string | null, role: Message["role"], content: string): Message => ({
  id: newId(),
  parent,
  role,
  content,
  createdAt: new Date().toISOString(),
});

/** A server that writes `count` messages, and says so. */
function writer(place: string, id: string, name: string, count: number): ChildProcess {
  const here = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
  const program = `
    import { ConversationStore } from ${here("./conversations.js")};
    import { newId } from ${here("./ids.js")};
    const store = new ConversationStore(${JSON.stringify(place)});
    for (let i = 0; i < ${count}; i++) {
      const add = ({ messages }) => {
        const parent = messages.findLast(({ role }) => role === "assistant")?.id ?? null;
        const question = { id: newId(), parent, role: "user", content: "${name} " + i, createdAt: new Date().toISOString() };
        return { messages: [...messages, question], leaf: question.id };
      };
      await store.update(${JSON.stringify(id)}, add);
      if (i === 0) process.stdout.write("begun\\n");
    }`;
  return spawn(process.execPath, [...process.execArgv, "--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

test("two servers write 200 messages each, a third is killed: all are there", { timeout: 120_000 }, async () => {
  const place = join(folder, "two");
  const store = new ConversationStore(place);
  const { id } = await store.create();
  const ended = (child: ChildProcess) => new Promise((resolve) => child.once("exit", resolve));
  const killed = writer(place, id, "killed", 1e9);
  await new Promise((resolve) => killed.stdout?.once("data", resolve));
  const writers = ["one", "two"].map((name) => writer(place, id, name, 200));
  const ends = writers.map(ended);
  // In the middle of a write as often as not; whatever it holds is nobody's then.
  killed.kill("SIGKILL");
  assert.deepEqual(await Promise.all(ends), [0, 0]);
  const { messages } = await store.read(id);
  const said = new Set(messages.map(({ content }) => content));
  for (const name of ["one", "two"])
    for (let i = 0; i < 200; i++) assert.ok(said.has(`${name} ${i}`), `${name} ${i} is lost`);
});

test("changes of another server are read, told to who looks, and join those made here", async () => {
  const place = join(folder, "join");
  const [here, there] = [new ConversationStore(place), new ConversationStore(place)];
  const { id } = await here.create({ title: "shared" });
  const question = message(null, "user", "question");
  const running = { ...message(question.id, "assistant", "half"), state: "running" as const };
  await there.update(id, () => ({ messages: [question, running], leaf: running.id }));
  // Shown as interrupted where it is not made, and left as it is in the file.
  assert.equal((await here.read(id)).messages[1]?.state, "interrupted");
  const other = message(null, "user", "a branch");
  await here.update(id, ({ messages }) => ({ messages: [...messages, other] }));
  assert.equal(decodeConversation(text(place, id)).messages[1]?.state, "running");
  const events: ConversationEvent[] = [];
  const answers = new Answers(here, { model: undefined } as AnswerMaker);
  const leave = await answers.watch(id, (event) => events.push(event));
  await there.finish(id, { ...running, content: "whole", state: "stop" });
  await here.read(id); // what a page's look does every two seconds
  const [, told] = events as Extract<ConversationEvent, { type: "snapshot" }>[];
  assert.deepEqual(
    told?.conversation.messages.map(({ content }) => content),
    ["question", "whole", "a branch"],
  );
  leave();
  assert.equal((await there.list()).length, 1);
  await here.delete(id);
  assert.deepEqual(await there.list(), []);
  await assert.rejects(there.read(id), { code: "CONVERSATION_UNKNOWN" });
});

/** Full whenever the test says so. */
class Disk extends ConversationFolder {
  full = false;
  writes = 0;
  failAt = Number.POSITIVE_INFINITY;
  override async write(id: string, content: string): Promise<void> {
    if (this.full || ++this.writes >= this.failAt) {
      this.full = true;
      throw new HundredweightError("FILE_IO", "conversations: ENOSPC: no space left on device, write");
    }
    await super.write(id, content);
  }
}

test("a disk that is full at any of 20 moments loses nothing that was taken", { timeout: 120_000 }, async () => {
  for (let moment = 1; moment <= 20; moment++) {
    const place = join(folder, `full-${moment}`);
    const lines: string[] = [];
    const disk = new Disk(place, (line) => lines.push(line));
    const store = new ConversationStore(place, { files: disk, log: (line) => lines.push(line) });
    const made: MadeAnswer = {
      finishReason: "stop",
      stats: { promptTokens: 1, cachedTokens: 0, generatedTokens: 1, prefillMs: 1, decodeMs: 1 },
    };
    let turn = 0;
    const maker: AnswerMaker = {
      model: "m",
      enter: () => () => {},
      answer: async (_request, events) => {
        events.token(`answer ${turn}`, 1, undefined);
        return made;
      },
    };
    const answers = new Answers(store, maker);
    const { id } = await store.create();
    disk.writes = 0;
    disk.failAt = moment;
    const taken: string[] = [];
    let leaf: string | null = null;
    let shown: Conversation | undefined;
    for (; turn < 8; turn++) {
      const sent: Message | undefined = await answers.send(id, leaf, `question ${turn}`).catch((error) => {
        assert.equal(error.code, "FILE_IO");
        return undefined;
      });
      await answers.drain();
      shown = answers.snapshot(await store.read(id)).conversation;
      const last = shown.messages.at(-1);
      // What nobody took is told, and can be sent again.
      if (sent !== undefined) taken.push(`question ${turn}`);
      if (last?.role === "assistant" && last.content === `answer ${turn}`) taken.push(last.content);
      if (last?.role === "assistant") leaf = last.id;
      if (turn === 6) {
        disk.full = false;
        disk.failAt = Number.POSITIVE_INFINITY;
      }
    }
    await store.end();
    assert.equal(store.unsaved, 0);
    const kept = decodeConversation(text(place, id));
    for (const each of taken)
      assert.ok(
        kept.messages.some(({ content }) => content === each),
        `${moment}: ${each}`,
      );
    assert.deepEqual(
      kept.messages.filter(({ state }) => state === "running"),
      [],
    );
    assert.ok(lines.length === 0 || lines.length === 2, lines.join("\n"));
  }
});

test("an answer that ends while the disk is full is shown, and written later", async () => {
  const place = join(folder, "later");
  const lines: string[] = [];
  const disk = new Disk(place, () => {});
  const store = new ConversationStore(place, { files: disk, log: (line) => lines.push(line) });
  const { id } = await store.create();
  const question = message(null, "user", "question");
  const running = { ...message(question.id, "assistant", ""), state: "running" as const };
  await store.update(id, () => ({ messages: [question, running], leaf: running.id }));
  disk.full = true;
  const after = await store.finish(id, { ...running, content: "words", state: "stop" });
  assert.deepEqual([after.messages[1]?.content, (await store.read(id)).messages[1]?.state], ["words", "stop"]);
  assert.equal(decodeConversation(text(place, id)).messages[1]?.state, "running");
  assert.equal(lines.length, 1);
  disk.full = false;
  const end = performance.now() + 20_000;
  while (store.unsaved > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(decodeConversation(text(place, id)).messages[1]?.content, "words");
  assert.equal(lines.length, 2);
});

const root = process.platform === "linux" && process.getuid?.() === 0;
test("a file system without space", { skip: !root && "SKIPPED: needs root to mount one" }, async (t) => {
  const place = join(folder, "tmpfs", "conversations");
  mkdirSync(join(folder, "tmpfs"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", join(folder, "tmpfs")], { stdio: "pipe" });
  } catch {
    t.skip("SKIPPED: mounting is not allowed here");
    return;
  }
  try {
    const store = new ConversationStore(place);
    const { id } = await store.create();
    const question = message(null, "user", "question");
    const running = { ...message(question.id, "assistant", ""), state: "running" as const };
    await store.update(id, () => ({ messages: [question, running], leaf: running.id }));
    const filler = join(folder, "tmpfs", "filler");
    assert.throws(() => writeFileSync(filler, new Uint8Array(2 ** 20)), { code: "ENOSPC" });
    const words = "w".repeat(8000);
    await store.finish(id, { ...running, content: words, state: "stop" });
    assert.deepEqual([store.unsaved, (await store.read(id)).messages[1]?.content], [1, words]);
    rmSync(filler);
    await store.end();
    assert.equal(decodeConversation(text(place, id)).messages[1]?.content, words);
  } finally {
    execFileSync("umount", [join(folder, "tmpfs")]);
  }
});

test("a pipe among the files is left alone, told of once, and waited for by nobody", { skip: linux }, async () => {
  const place = join(folder, "pipe");
  const lines: string[] = [];
  const store = new ConversationStore(place, { log: (line) => lines.push(line) });
  await store.create({ title: "good" });
  const id = newId();
  execFileSync("mkfifo", [join(place, `${id}.conversation.jsonl`)]);
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(
      (await store.list("")).map(({ title }) => title),
      ["good"],
    );
    await store.list("nothing holds this");
  }
  await assert.rejects(store.read(id), { code: "FILE_NOT_REGULAR" });
  await assert.rejects(
    store.update(id, () => ({ title: "x" })),
    { code: "FILE_NOT_REGULAR" },
  );
  assert.equal(lines.length, 1, lines.join("\n"));
  await store.delete(id);
});
