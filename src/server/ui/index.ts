/** Where the web page and its routes are mounted: called last, after every API route. */
import { join } from "node:path";
import { Hono } from "hono";
import { type ErrorCode, HundredweightError } from "../../errors.js";
import { packageRoot } from "../../package-root.js";
import { asHttpError, HttpError } from "../http/http-error.js";
import type { ServerContext } from "../service/context.js";
import { ModelAnswerMaker } from "./answer-maker.js";
import { Answers } from "./answers.js";
import { mountConversations } from "./conversation-routes.js";
import { ConversationStore, defaultDataFolder } from "./conversations.js";
import { Machine } from "./machine.js";
import { mountMachine } from "./machine-routes.js";
import { NextMessages } from "./next-messages.js";
import { Seats } from "./seats.js";
import { StaticFiles } from "./static-files.js";

export function mountUi(app: Hono, context: ServerContext): void {
  const ui = new Hono({ strict: false });
  ui.onError((error) => {
    const failure = pageError(error);
    if (failure.status >= 500) context.log(`page: ${error.stack}`);
    return failure.response();
  });
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const data = context.config.dataFolder ?? defaultDataFolder();
  const store = new ConversationStore(join(data, "conversations"), { onListed: changed, log: context.log });
  const machine = new Machine(context);
  const answers = new Answers(store, new ModelAnswerMaker(context, () => machine.costs), changed);
  const seats = new Seats(data);
  const next = new NextMessages(store, answers, seats, context.log);
  context.model.onChange(({ phase }) => {
    if (phase === "ready") void next.takeOver();
  });
  context.lastly.add(async () => {
    await next.end();
    await store.end();
    await seats.end();
  });
  mountConversations(ui, store, answers, next, context);
  mountMachine(ui, context, machine, (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  });

  const files = new StaticFiles(join(packageRoot(), "dist", "page"));
  for (const path of files.empty ? [] : ["/", ...files.paths])
    ui.get(path, (c) => files.answer(c.req.path, c.req.raw.headers)!);
  if (files.empty)
    ui.get("/", (c) => c.text(`hundredweight serves ${context.model.id}; its page is not built (npm run build)\n`));
  app.route("/", ui);
}

const statuses: Readonly<Partial<Record<ErrorCode, 400 | 404 | 409 | 500>>> = {
  CONVERSATION_UNKNOWN: 404,
  CONVERSATION_LIMIT: 409,
  FORMAT_INVALID: 400,
  FORMAT_UNSUPPORTED: 400,
  FORMAT_UNKNOWN: 400,
  ARCHITECTURE_UNKNOWN: 400,
  MODEL_INVALID: 400,
  TOKENIZER_INVALID: 400,
  FILE_NOT_FOUND: 404,
  FILE_IO: 500,
  FILE_NOT_REGULAR: 400,
};

/** People read these: what is wrong with a file is said. */
function pageError(error: unknown): HttpError {
  const status = error instanceof HundredweightError ? statuses[error.code] : undefined;
  if (status === undefined) return asHttpError(error);
  const { code, message } = error as HundredweightError;
  return new HttpError(status, message, { code: code.toLowerCase() });
}
