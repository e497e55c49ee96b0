/** The far side of the protocol: one request at a time, answered in order, wherever this runs. */
import { toWire } from "../process/wire.js";
import { Interrupted } from "./interrupt.js";
import { type FromText, mostIds, type TextResults, type ToText } from "./protocol.js";
import { RenderedTooLong, TextWork } from "./work.js";

/** @returns what takes messages */
export function serveTexts(post: (message: FromText) => void): (message: ToText) => Promise<void> {
  let work: TextWork | undefined;
  const answer = (result: TextResults[keyof TextResults]): void => {
    if (!(result instanceof Int32Array && result.length > mostIds)) {
      post({ type: "done", result });
      return;
    }
    const { length } = result;
    for (let at = 0; at < length; at += mostIds) post({ type: "ids", ids: result.slice(at, at + mostIds), length });
    post({ type: "done", result: new Int32Array(0) });
  };
  return async (message) => {
    try {
      if (message.type === "open") {
        work = await TextWork.open(message.path, message.template);
        post({ type: "opened", info: work.info });
      } else if (message.request.kind === "checkConstraint") {
        answer(await work!.leftOutOf(message.request.constraint, message.limits));
      } else answer(work!.perform(message.request, message.limits));
    } catch (error) {
      if (error instanceof Interrupted) post({ type: "limited", by: "renderMs", starved: error.starved });
      else if (error instanceof RenderedTooLong) post({ type: "limited", by: "renderedLength", starved: false });
      else post({ type: "failed", error: toWire(error) });
    }
  };
}
