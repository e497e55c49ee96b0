/** Conversations over HTTP, for the page. */
import { setMaxListeners } from "node:events";
import type { Context, Hono } from "hono";
import { z } from "zod";
import { HundredweightError } from "../../errors.js";
import { jsonAnswer } from "../answers/parts.js";
import { readJson } from "../http/body.js";
import type { ServerContext } from "../service/context.js";
import { alternativesOf } from "./alternatives.js";
import type { Answers } from "./answers.js";
import { branchTo, leafUnder } from "./branch.js";
import { checked } from "./checked.js";
import { exportConversation, formSchema, limits, samplingSchema } from "./conversation-file.js";
import type { ConversationStore } from "./conversations.js";
import { eventStream } from "./event-stream.js";
import { idPattern, newId } from "./ids.js";
import type { NextMessages } from "./next-messages.js";
import type { Conversation, ConversationEvent, ConversationRow } from "./wire.js";

const id = z.string().regex(idPattern);
const title = z.string().trim().min(1).max(limits.titleCharacters);
const system = z.string().max(limits.systemCharacters);
const createSchema = z.strictObject({
  title: title.exactOptional(),
  system: system.exactOptional(),
  sampling: samplingSchema.exactOptional(),
  form: formSchema.exactOptional(),
});
const updateSchema = createSchema.extend({
  leaf: id.exactOptional(),
  seenFrom: id.nullable().exactOptional(),
  pinned: z.boolean().exactOptional(),
  folder: z.string().trim().max(limits.titleCharacters).exactOptional(),
});
const sendSchema = z.strictObject({
  parent: id.nullable(),
  content: z.string().min(1).max(limits.messageCharacters),
});
const answerSchema = z.strictObject({ parent: id, sampling: samplingSchema.exactOptional() });
const messageSchema = z.strictObject({ message: id });
const content = z.string().min(1).max(limits.messageCharacters);
const nextSchema = z.strictObject({ after: id, content });
const contentSchema = z.strictObject({ content });

export function mountConversations(
  app: Hono,
  store: ConversationStore,
  answers: Answers,
  next: NextMessages,
  context: ServerContext,
): void {
  const { config, ending, untaken } = context;
  // A message of the longest text, each character escaped; an import is a whole conversation.
  const bounds = { ...config, maxBodyBytes: Math.max(config.maxBodyBytes, 6 * limits.messageCharacters + 4096) };
  const body = async <T>(c: Context, schema: z.ZodType<T>): Promise<T> => checked(await readJson(c, bounds), schema);
  const json = (c: Context, value: unknown): Response => jsonAnswer(c, untaken, JSON.stringify(value));

  app.get("/ui/conversations", async (c) => {
    const rows = await store.list((c.req.query("search") ?? "").slice(0, limits.titleCharacters));
    return json(
      c,
      rows.map((row): ConversationRow => ({ ...row, running: answers.running(row.id) })),
    );
  });
  app.post("/ui/conversations", async (c) => c.json(await store.create(await body(c, createSchema)), 201));
  app.post("/ui/conversations/import", async (c) => {
    const file = await readJson(c, { ...config, maxBodyBytes: limits.conversationBytes });
    return c.json(answers.snapshot(await store.import(file)).conversation, 201);
  });
  app.get("/ui/conversations/:id", async (c) => {
    const { conversation } = answers.snapshot(await store.read(c.req.param("id")));
    return json(c, conversation);
  });
  app.get("/ui/conversations/:id/export", async (c) => {
    const conversation = answers.stored(await store.read(c.req.param("id")));
    return jsonAnswer(c, untaken, exportConversation(conversation), {
      "content-type": "application/json; charset=utf-8",
      "content-disposition": `attachment; filename="conversation-${conversation.id}.json"`,
    });
  });
  app.patch("/ui/conversations/:id", async (c) => {
    const change = await body(c, updateSchema);
    // What only changes how it is shown is no change of the conversation.
    const shows: ReadonlySet<string> = new Set(["leaf", "pinned", "folder"]);
    const touch = !Object.keys(change).every((name) => shows.has(name));
    const after = await store.update(
      c.req.param("id"),
      ({ messages }) => {
        const { leaf, seenFrom, folder, ...others } = change;
        for (const named of [leaf, seenFrom])
          if (named && !messages.some((message) => message.id === named))
            throw new HundredweightError("CONVERSATION_UNKNOWN", "there is no such message");
        return {
          ...others,
          ...(folder !== undefined && { folder: folder === "" ? undefined : folder }),
          ...(leaf !== undefined && { leaf: leafUnder(messages, leaf) }),
          ...(seenFrom !== undefined && { seenFrom: seenFrom ?? undefined }),
        };
      },
      { touch },
    );
    answers.publishSettings(after);
    const { messages: _, ...settings } = after;
    return c.json(settings);
  });
  app.post("/ui/conversations/:id/go-on", async (c) => {
    const { message } = await body(c, messageSchema);
    const before = await store.read(c.req.param("id"));
    const fresh = await store.import({ version: 1, ...lastTurn(before, message) });
    return c.json(answers.snapshot(fresh).conversation, 201);
  });
  app.delete("/ui/conversations/:id", async (c) => {
    const name = c.req.param("id");
    await answers.stopAll(name); // those of no conversation are none; a damaged one can be deleted, too
    await store.delete(name);
    answers.publish(name, { type: "deleted" });
    return c.body(null, 204);
  });
  app.post("/ui/conversations/:id/messages", async (c) => {
    const { parent, content } = await body(c, sendSchema);
    return c.json(await answers.send(c.req.param("id"), parent, content), 201);
  });
  app.post("/ui/conversations/:id/answers", async (c) => {
    const { parent, sampling } = await body(c, answerSchema);
    return c.json(await answers.begin(c.req.param("id"), parent, { sampling }), 201);
  });
  app.post("/ui/conversations/:id/continue", async (c) => {
    const { message } = await body(c, messageSchema);
    return c.json(await answers.goOn(c.req.param("id"), message), 201);
  });
  app.post("/ui/conversations/:id/alternatives", async (c) => {
    const { message } = await body(c, messageSchema);
    const conversation = answers.stored(await store.read(c.req.param("id")));
    return json(c, await alternativesOf(context, conversation, message, c.req.raw.signal));
  });
  app.post("/ui/conversations/:id/next", async (c) => {
    const given = await body(c, nextSchema);
    return c.json(await next.add(c.req.param("id"), given.after, given.content), 201);
  });
  app.patch("/ui/conversations/:id/next/:next", async (c) => {
    await next.edit(c.req.param("id"), c.req.param("next"), (await body(c, contentSchema)).content);
    return c.body(null, 204);
  });
  app.delete("/ui/conversations/:id/next/:next", async (c) => {
    await next.drop(c.req.param("id"), c.req.param("next"));
    return c.body(null, 204);
  });
  app.post("/ui/conversations/:id/next/:next/send", async (c) => {
    await next.sendNow(c.req.param("id"), c.req.param("next"));
    return c.body(null, 204);
  });
  app.get("/ui/queue", async (c) => c.json(await next.rows()));
  app.post("/ui/conversations/:id/stop", async (c) => {
    const { message } = await body(c, messageSchema);
    return c.json({ stopped: answers.stop(c.req.param("id"), message) });
  });
  // Answers that are cut when the server ends tell so, too.
  const told = new AbortController();
  setMaxListeners(0, told.signal);
  ending.addEventListener("abort", () => void answers.drain().then(() => told.abort()), { once: true });
  app.get("/ui/conversations/:id/events", (c) =>
    eventStream<ConversationEvent>((send) => answers.watch(c.req.param("id"), send), {
      merge: mergeDeltas,
      signal: AbortSignal.any([c.req.raw.signal, told.signal]),
    }),
  );
}

function mergeDeltas(before: ConversationEvent, after: ConversationEvent): ConversationEvent | undefined {
  if (after.type === "progress" && before.type === "progress" && before.id === after.id) return after;
  if (before.type !== "delta" || after.type !== "delta" || before.id !== after.id) return undefined;
  return { ...before, text: before.text + after.text };
}

/** A conversation with the settings of another that begins with the last turn of a branch of it. */
function lastTurn({ title, system, sampling, form, messages }: Conversation, leaf: string): Conversation {
  const turn = branchTo(messages, leaf).slice(-2);
  const now = new Date().toISOString();
  const first = turn[0]?.role === "user" ? turn : turn.slice(1);
  return {
    id: newId(),
    title,
    createdAt: now,
    updatedAt: now,
    system,
    sampling,
    ...(form !== undefined && { form }),
    messages: first.map((message, i) => (i === 0 ? { ...message, parent: null } : message)),
    leaf: first.at(-1)?.id ?? null,
  };
}
