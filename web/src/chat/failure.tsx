/** An answer that failed: what happened in plain words, a way out, and the code for whoever asks for it. */
import type { JSX } from "preact";
import type { Message } from "../../../src/server/ui/wire.js";
import { paths } from "../router.js";

const words: Readonly<Record<string, string>> = {
  CONTEXT_EXCEEDED:
    "The conversation is longer than the model's context. Leave out the oldest messages, or begin anew.",
  ENGINE_CRASHED: "The engine ended while it wrote, and is being started again. The answer can go on.",
  ENGINE_CLOSED: "The model was changed or closed while it wrote. The answer can go on.",
  ENGINE_SILENT: "The engine did not get on and was ended. The answer can go on.",
  QUEUE_FULL: "Too many requests wait at present. Answer again in a moment.",
  MEMORY_BUDGET: "There is not enough memory for this conversation. A shorter context or a smaller model needs less.",
  FILE_IO: "The disk could not be read or written: it may be full or gone.",
  TEMPLATE_INVALID: "The chat template in the model's file cannot render this conversation.",
  TEMPLATE_TIMEOUT: "The chat template in the model's file takes too long for this conversation.",
  MODEL_INVALID: "The model's file holds numbers that make no answer. It may be damaged.",
  OPTION_INVALID: "The settings of this conversation do not go together.",
};

export function Failure({ error }: { readonly error: NonNullable<Message["error"]> }): JSX.Element {
  const { code, message } = error;
  return (
    <div class="failure" role="alert">
      <p>{words[code] ?? "The answer failed."}</p>
      <details>
        <summary>
          {code === "MODEL_INVALID" || code === "MEMORY_BUDGET" ? <a href={paths.models}>Other models</a> : "Details"}
        </summary>
        <code>{code}</code> {message}
      </details>
    </div>
  );
}
