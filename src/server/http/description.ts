/** How a route is described in `/openapi.json`. Every API lists its own beside its schemas. */
import { z } from "zod";
import type { ServedLimits } from "./served-limits.js";

export interface RouteDescription {
  readonly method: "get" | "post" | "delete";
  /** With its parameters as `{id}`. */
  readonly path: string;
  readonly summary: string;
  /** The schema that checks the body; unknown fields of an object are taken and named in a header. */
  readonly body?: z.ZodObject | z.ZodArray;
  /** The body is a form with a file. */
  readonly form?: boolean;
  /** Holds of a 200; undefined: a text that is not described. */
  readonly answer?: z.ZodType;
  /** The type of an answer that is not described. Default: `text/plain`. */
  readonly bytes?: string;
  /** Headers go out before the answer is made: a failure after them is an error object under status 200. */
  readonly late?: boolean;
  /** With `stream: true` the answer is server-sent events. */
  readonly streams?: boolean;
  /** Unless `stream: false` the answer is lines of JSON. */
  readonly lines?: boolean;
  /** The shape of its failures. Default: OpenAI's. */
  readonly failure?: "Error" | "AnthropicError" | "OllamaError";
  /** Needs no key. */
  readonly open?: boolean;
  /** Needs no model that is ready. */
  readonly modelless?: boolean;
  /** Whether this model can; left out where it cannot. Default: every model can. */
  readonly needs?: (limits: ServedLimits) => boolean;
}

export const makesVectors = ({ ranks }: ServedLimits): boolean => !ranks;
export const fillsGaps = ({ gap }: ServedLimits): boolean => gap > 0;

/** Fields may be added to every answer: clients pass over what they do not know. */
export const count = z.int().min(0);
const loose = z.looseObject;

export const healthAnswer = loose({ status: z.literal("ok") });
/** Held by `/health` while there is no model, in llama-server's words. */
export const loadingAnswer = loose({ error: loose({ message: z.string(), type: z.string(), code: z.literal(503) }) });
/** Without a key the status alone. */
export const readyAnswer = loose({
  status: z.string(),
  model: z.string().optional(),
  seconds: z.number().optional(),
  restarts: count.optional(),
  answers: loose({ open: count, limit: count }).optional(),
});
export const tokensAnswer = loose({ tokens: z.array(z.union([count, loose({ id: count })])), count });
export const contentAnswer = loose({ content: z.string() });
export const promptAnswer = loose({ prompt: z.string() });
