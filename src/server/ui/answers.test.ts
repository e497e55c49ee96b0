import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { HundredweightError } from "../../errors.js";
import { type AnswerMaker, Answers, type MadeAnswer, type MakerEvents, type MakerRequest } from "./answers.js";
import { ConversationStore } from "./conversations.js";
import type { Conversation, ConversationEvent, Message } from "./wire.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-answers-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const stats = { promptTokens: 5, cachedTokens: 2, generatedTokens: 3, prefillMs: 10, decodeMs: 20 };

function assertHas(actual: object | undefined, part: object): void {
  const found = Object.fromEntries(Object.entries(actual ?? {}).filter(([key]) => key in part));
  assert.deepEqual(found, part);
}

/** Answers when the test says so. */
class HandMaker implements AnswerMaker {
  readonly model = "by hand";
  readonly requests: MakerRequest[] = [];
  events!: MakerEvents;
  finish!: (made?: MadeAnswer) => void;
  fail!: (error: Error) => void;
  open = 0;

  enter(): () => void {
    this.open++;
    return () => {
      this.open--;
    };
  }

  answer(request: MakerRequest, events: MakerEvents, signal: AbortSignal): Promise<MadeAnswer> {
    this.requests.push(request);
    this.events = events;
    return new Promise((resolve, reject) => {
      this.finish = (made = { finishReason: "stop", stats }) => resolve(made);
      this.fail = reject;
      signal.addEventListener("abort", () => reject(new HundredweightError("CANCELLED", "stopped by the caller")));
    });
  }
}

async function start(name: string) {
  const store = new ConversationStore(join(folder, name));
  const maker = new HandMaker();
  const answers = new Answers(store, maker);
  const { id } = await store.create({ system: "Be brief.", sampling: { topK: 1 } });
  return { store, maker, answers, id };
}

/** A page's view of the events. */
class Page {
  conversation!: Conversation;
  readonly events: ConversationEvent[] = [];
  readonly take = (event: ConversationEvent): void => {
    this.events.push(event);
    if (event.type === "snapshot") this.conversation = event.conversation;
    else if (event.type === "settings")
      this.conversation = { ...event.conversation, messages: this.conversation.messages };
    else if (event.type === "message") this.#replace(event.message.id, event.message);
    else if (event.type === "delta") {
      const before = this.message(event.id);
      assert.equal(before.content.length, event.from);
      this.#replace(event.id, { ...before, content: before.content + event.text });
    }
  };

  message(id: string): Message {
    return this.conversation.messages.find((message) => message.id === id)!;
  }

  #replace(id: string, message: Message): void {
    const { messages } = this.conversation;
    const at = messages.findIndex((known) => known.id === id);
    this.conversation = {
      ...this.conversation,
      messages: at < 0 ? [...messages, message] : messages.with(at, message),
    };
  }
}

test("an answer is made, told and stored; pages that come at any moment see the same", async () => {
  const { store, maker, answers, id } = await start("told");
  const pages: Page[] = [];
  const join = async () => {
    const page = new Page();
    pages.push(page);
    await answers.watch(id, page.take);
  };
  await join();
  await answers.send(id, null, "Say something");
  await join();
  maker.events.queued(2);
  maker.events.started(5, 60);
  maker.events.prompt(3, 5, 1);
  await join();
  for (const word of ["Hel", "lo ", "wor"]) {
    maker.events.token(word);
    await join();
  }
  maker.events.text("ld");
  maker.finish();
  await answers.drain();
  await join();
  for (const { conversation } of pages) assert.deepEqual(conversation, await store.read(id));
  const [question, answer] = pages[0]!.conversation.messages as [Message, Message];
  assert.equal(question.content, "Say something");
  assert.deepEqual(
    { ...answer, id: "", createdAt: "" },
    {
      id: "",
      createdAt: "",
      parent: question.id,
      role: "assistant",
      content: "Hello world",
      state: "stop",
      model: "by hand",
      stats,
    },
  );
  assert.equal(pages[0]!.conversation.title, "Say something");
  assert.equal(maker.open, 0);
  assert.deepEqual(maker.requests[0], {
    conversation: id,
    sampling: { topK: 1 },
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Say something" },
    ],
  });
  const progress = pages[0]!.events.filter((event) => event.type === "progress").map((event) => event.progress);
  assert.deepEqual(progress[0], { phase: "queued", ahead: 2 });
  assertHas(progress[1], { phase: "prompt", done: 0, total: 5, remainingSeconds: 60 });
  assertHas(progress[2], { phase: "prompt", done: 3, total: 5 });
});

test("edits and new answers are branches; the model gets the branch that is shown, without its thoughts", async () => {
  const { store, maker, answers, id } = await start("branches");
  const ask = async (parent: string | null, text: string, reply: string) => {
    const question = await answers.send(id, parent, text);
    maker.events.token(reply);
    maker.finish();
    await answers.drain();
    return { question, leaf: (await store.read(id)).leaf! };
  };
  const first = await ask(null, "one", "<think>\nhm\n</think>\nanswer one");
  await ask(first.leaf, "two", "answer two");
  const edited = await ask(first.leaf, "two, edited", "answer three");
  assert.deepEqual(
    maker.requests.at(-1)!.messages.map(({ content }) => content),
    ["Be brief.", "one", "answer one", "two, edited"],
  );
  await answers.begin(id, edited.question.id);
  maker.finish({ finishReason: "length", stats });
  await answers.drain();
  const { messages, leaf } = await store.read(id);
  assert.equal(messages.length, 7);
  assert.equal(messages.filter((message) => message.parent === first.leaf).length, 2);
  assert.deepEqual(
    messages.filter((message) => message.parent === edited.question.id).map((message) => message.state),
    ["stop", "length"],
  );
  assert.equal(leaf, messages.at(-1)!.id);
});

test("stopped answers keep their words; failures say why; an ending server leaves an interrupted one", async () => {
  const { store, maker, answers, id } = await start("ends");
  const ask = async (end: (answer: Message) => void) => {
    await answers.send(id, null, "go");
    const message = (await store.read(id)).messages.at(-1)!;
    maker.events.started(5, undefined);
    maker.events.prompt(4, 5, 2);
    maker.events.prompt(5, 5, 1);
    for (const text of ["some ", "words"]) maker.events.token(text);
    end(message);
    await answers.drain();
    return (await store.read(id)).messages.at(-1)!;
  };
  const stopped = await ask(({ id: message }) => {
    assert.equal(answers.stop("another", message), false);
    assert.equal(answers.stop(id, message), true);
  });
  assertHas(stopped, { state: "stopped", content: "some words" });
  // What it took is told of cut answers, too.
  const { promptTokens, cachedTokens, generatedTokens, prefillMs, decodeMs } = stopped.stats!;
  assert.deepEqual([promptTokens, cachedTokens, generatedTokens], [5, 2, 2]);
  assert.ok(prefillMs >= 0 && decodeMs >= 0);
  const failed = await ask(() => maker.fail(new HundredweightError("ENGINE_CRASHED", "the engine ended")));
  assertHas(failed, {
    state: "failed",
    content: "some words",
    error: { code: "ENGINE_CRASHED", message: "the engine ended" },
  });
  const interrupted = await ask(() => maker.fail(new HundredweightError("CANCELLED", "the server ends")));
  assertHas(interrupted, { state: "interrupted", content: "some words" });
  assert.equal(maker.open, 0);
});

test("wrong places and too many answers are refused, and places are given back", async () => {
  const { store, maker, answers, id } = await start("refused");
  await assert.rejects(answers.send("nonsense", null, "x"), { code: "CONVERSATION_UNKNOWN" });
  await assert.rejects(answers.send(id, "01m82799816zt22xyw75xh71y7", "x"), { code: "CONVERSATION_UNKNOWN" });
  const question = await answers.send(id, null, "x");
  await assert.rejects(answers.send(id, question.id, "x"), { code: "OPTION_INVALID" });
  const { leaf } = await store.read(id);
  await assert.rejects(answers.send(id, leaf, "x"), { code: "OPTION_INVALID", message: /still being written/ });
  for (let i = 0; i < 3; i++) await answers.begin(id, question.id);
  await assert.rejects(answers.begin(id, question.id), { code: "CONVERSATION_LIMIT" });
  assert.equal(maker.open, 4);
  await answers.stopAll(id);
  assert.equal(maker.open, 0);
});

test("an answer without end is cut and kept", async () => {
  const { store, maker, answers, id } = await start("endless");
  await answers.send(id, null, "x");
  for (let i = 0; i < 20; i++) maker.events.token("y".repeat(60_000));
  await answers.drain();
  const answer = (await store.read(id)).messages.at(-1)!;
  assert.equal(answer.state, "length");
  assert.equal(answer.content.length, 2 ** 20);
});

test("what is there is stored while the answer goes on", async () => {
  const { store, maker, answers, id } = await start("midway");
  await answers.send(id, null, "x");
  maker.events.token("first words");
  const stored = async () => (await new ConversationStore(join(folder, "midway")).read(id)).messages.at(-1)!;
  for (let content = ""; content === ""; content = (await stored()).content) await turn();
  assertHas(await stored(), { content: "first words", state: "interrupted" });
  assert.equal((await store.read(id)).messages.at(-1)!.state, "running");
  maker.finish();
  await answers.drain();
});
