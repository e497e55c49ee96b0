import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { HundredweightError } from "../../errors.js";
import { loadAddon } from "../../native/addon.js";
import type { AnswerMaker, MadeAnswer, MakerEvents, MakerRequest } from "./answer-maker-types.js";
import { Answers } from "./answers.js";
import type { StoredMessage } from "./conversation-file.js";
import { ConversationStore } from "./conversations.js";
import { NextMessages } from "./next-messages.js";
import { Seats } from "./seats.js";
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
    maker.events.token(word, 1, undefined);
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
      sampling: { topK: 1, seed: answer.sampling!.seed },
      stats,
    },
  );
  assert.ok(Number.isInteger(answer.sampling!.seed));
  assert.equal(pages[0]!.conversation.title, "Say something");
  assert.equal(maker.open, 0);
  assert.deepEqual(maker.requests[0], {
    conversation: id,
    sampling: { topK: 1, seed: answer.sampling!.seed! },
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
    maker.events.token(reply, 1, undefined);
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
    for (const text of ["some ", "words"]) maker.events.token(text, 1, undefined);
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
  for (let i = 0; i < 20; i++) maker.events.token("y".repeat(60_000), 1, undefined);
  await answers.drain();
  const answer = (await store.read(id)).messages.at(-1)!;
  assert.equal(answer.state, "length");
  assert.equal(answer.content.length, 2 ** 20);
});

test("the longest answer is that of its own settings, where it has some", async () => {
  const { store, maker, answers, id } = await start("longest");
  await store.update(id, () => ({ sampling: { maxTokens: 50 } }));
  await answers.send(id, null, "x");
  maker.finish();
  await answers.drain();
  const [question] = (await store.read(id)).messages;
  await answers.begin(id, question!.id, { sampling: { maxTokens: 4 } });
  assert.equal(maker.requests.at(-1)!.sampling.maxTokens, 4);
  maker.finish({ finishReason: "length", stats: { ...stats, generatedTokens: 4 } });
  await answers.drain();
  assertHas((await store.read(id)).messages.at(-1)!, { state: "length", cut: 4 });
});

test("what is there is stored while the answer goes on", async () => {
  const { store, maker, answers, id } = await start("midway");
  await answers.send(id, null, "x");
  maker.events.token("first words", 1, undefined);
  const stored = async () => (await new ConversationStore(join(folder, "midway")).read(id)).messages.at(-1)!;
  for (let content = ""; content === ""; content = (await stored()).content) await turn();
  assertHas(await stored(), { content: "first words", state: "interrupted" });
  assert.equal((await store.read(id)).messages.at(-1)!.state, "running");
  maker.finish();
  await answers.drain();
});

const sampler = (n: number) => ({ random: [n, 2, 3, 4] as const });

test("a cut answer goes on with its tokens and its random numbers, in the same message", async () => {
  const { store, maker, answers, id } = await start("goes-on");
  await store.update(id, () => ({ sampling: { seed: 9, maxTokens: 5 } }));
  await answers.send(id, null, "go");
  const { id: message } = (await store.read(id)).messages.at(-1)!;
  const read = async () => (await store.read(id)).messages.at(-1) as StoredMessage;
  maker.events.started(5, undefined);
  for (const n of [1, 2]) maker.events.token(`w${n} `, n, sampler(n));
  answers.stop(id, message);
  await answers.drain();
  assertHas(await read(), { state: "stopped", resume: { tokens: [1, 2], random: [2, 2, 3, 4] } });
  assert.ok(
    !("resume" in answers.snapshot(await store.read(id)).conversation.messages.at(-1)!),
    "pages need no tokens",
  );
  await assert.rejects(answers.goOn(id, "01m82799816zt22xyw75xh71y7"), { code: "CONVERSATION_UNKNOWN" });

  await answers.goOn(id, message);
  await assert.rejects(answers.goOn(id, message), { code: "OPTION_INVALID" });
  const request = maker.requests.at(-1)!;
  assert.deepEqual(request.goOn, { content: "w1 w2 ", resume: { tokens: [1, 2], random: [2, 2, 3, 4] } });
  assert.deepEqual(request.sampling, { seed: 9, maxTokens: 3 });
  maker.events.started(7, undefined);
  maker.events.resumed("w1 w2 ");
  maker.events.token("w3", 3, sampler(3));
  const drafts = { lookup: { tried: 4, right: 3 }, forced: { tried: 1, right: 1 } };
  maker.finish({ finishReason: "length", stats: { ...stats, generatedTokens: 3, drafts } });
  await answers.drain();
  const cut = await read();
  assertHas(cut, { id: message, state: "length", cut: 5, content: "w1 w2 w3" });
  assert.deepEqual(cut.resume, { tokens: [1, 2, 3], random: [3, 2, 3, 4] });
  assert.equal(cut.stats!.generatedTokens, 5);
  assert.deepEqual(cut.stats!.drafts, drafts);

  // As many again; and where it ends by itself nothing is kept to go on with.
  await answers.goOn(id, message);
  assert.equal(maker.requests.at(-1)!.sampling.maxTokens, 5);
  maker.events.token(".", 4, sampler(4));
  maker.finish({ finishReason: "stop", stats: { ...stats, drafts: { lookup: { tried: 2, right: 0 } } } });
  await answers.drain();
  assert.ok(!("resume" in (await read())));
  assert.deepEqual((await read()).stats!.drafts, { ...drafts, lookup: { tried: 6, right: 3 } });
  assertHas(await read(), { state: "stop", content: "w1 w2 w3." });
  await assert.rejects(answers.goOn(id, message), { code: "OPTION_INVALID" });
});

test("a text goes on where another model wrote it; a full context is told apart from the longest answer", async () => {
  const { store, maker, answers, id } = await start("text-goes-on");
  await answers.send(id, null, "go");
  const { id: message } = (await store.read(id)).messages.at(-1)!;
  maker.events.token("some", 1, sampler(1));
  answers.stop(id, message);
  await answers.drain();
  await store.update(id, ({ messages }) => ({ messages: messages.map((one) => ({ ...one, model: "another" })) }));
  await answers.goOn(id, message);
  assert.deepEqual(maker.requests.at(-1)!.goOn, { content: "some", resume: undefined });
  maker.events.token(" more", 2, sampler(2));
  maker.finish({ finishReason: "length", stats });
  await answers.drain();
  const ended = (await store.read(id)).messages.at(-1) as StoredMessage;
  assertHas(ended, { content: "some more", state: "length", cut: "context" });
  assert.equal(ended.resume, undefined, "the tokens of its beginning are not known");
});

test("what is written next waits, is changed, dropped, sent when the answer ends, or at once", async () => {
  const { store, maker, answers, id } = await start("next");
  const seats = new Seats(join(folder, "next-seats"));
  const next = new NextMessages(store, answers, seats, assert.fail);
  const ended = async () => {
    await answers.drain();
    await next.end();
  };
  await answers.send(id, null, "one");
  const first = (await store.read(id)).leaf!;
  await assert.rejects(next.add(id, (await store.read(id)).messages[0]!.id, "x"), { code: "CONVERSATION_UNKNOWN" });
  const two = await next.add(id, first, "two");
  const gone = await next.add(id, first, "gone");
  await next.add(id, first, "three");
  await next.edit(id, two.id, "two!");
  await next.drop(id, gone.id);
  await assert.rejects(next.drop(id, gone.id), { code: "CONVERSATION_UNKNOWN" });
  assert.deepEqual(
    (await next.rows()).map(({ content }) => content),
    [undefined, "two!", "three"],
  );
  assert.equal((await store.list())[0]!.waiting, 2);
  maker.finish();
  await ended();
  const texts = async () =>
    (await store.read(id)).messages.map(({ content, role }) => (role === "user" ? content : "-"));
  assert.deepEqual(await texts(), ["one", "-", "two!", "-"]);
  // It waits for the new answer now, and is no reason to go on after one that was stopped.
  const second = (await store.read(id)).leaf!;
  answers.stop(id, second);
  await ended();
  assert.equal((await texts()).length, 4);
  const [three] = (await store.read(id)).next!;
  assert.equal(three!.after, second);
  await next.sendNow(id, three!.id);
  await next.end();
  assert.deepEqual((await texts()).slice(4), ["three", "-"]);
  const four = await next.add(id, (await store.read(id)).leaf!, "four");
  await next.sendNow(id, four.id);
  await ended();
  assert.deepEqual((await texts()).slice(6), ["four", "-"]);
  assert.equal((await store.read(id)).messages[5]!.state, "stopped");
  maker.finish();
  await ended();
  assert.deepEqual((await store.read(id)).next, []);
  // Where nothing runs, it is sent.
  await next.add(id, (await store.read(id)).leaf!, "five");
  await next.end();
  assert.deepEqual((await texts()).slice(8), ["five", "-"]);
  await answers.stopAll();
  await seats.end();
});

test("after a restart an interrupted answer goes on, and the next message is sent; not beside its server", async () => {
  const place = "next-restart";
  const { store, maker, answers, id } = await start(place);
  const seats = new Seats(join(folder, "restart-seats"));
  const next = new NextMessages(store, answers, seats, assert.fail);
  await answers.send(id, null, "one");
  maker.events.token("half", 7, sampler(7));
  await next.add(id, (await store.read(id)).leaf!, "two");
  maker.fail(new HundredweightError("CANCELLED", "the server ends"));
  await answers.drain();
  await next.end();

  const another = async () => {
    const folderStore = new ConversationStore(join(folder, place));
    const hand = new HandMaker();
    const made = new Answers(folderStore, hand);
    const there = new Seats(join(folder, "restart-seats"));
    const waits = new NextMessages(folderStore, made, there, assert.fail);
    await waits.takeOver();
    return { store: folderStore, maker: hand, answers: made, seats: there, next: waits };
  };
  if (loadAddon() !== undefined) {
    const beside = await another();
    assert.equal(beside.maker.requests.length, 0, "the first server still lives");
    await beside.seats.end();
  }
  await seats.end();
  const after = await another();
  assert.deepEqual(after.maker.requests[0]!.goOn!.resume!.tokens, [7]);
  after.maker.events.resumed("half");
  after.maker.events.token(" done", 8, sampler(8));
  after.maker.finish();
  await after.answers.drain();
  await after.next.end();
  const { messages } = await after.store.read(id);
  assert.deepEqual(
    messages.map(({ content }) => content),
    ["one", "half done", "two", ""],
  );
  await after.answers.stopAll();
  await after.seats.end();
});
