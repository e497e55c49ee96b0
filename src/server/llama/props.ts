/** `/props` and `/slots`: what is served, and what is being answered, in llama-server's words. */
import type { Hono } from "hono";
import { packageVersion } from "../../package-root.js";
import { mergeSampling } from "../../sampling/settings.js";
import { samplingSettings } from "../answers/told-settings.js";
import { HttpError } from "../http/http-error.js";
import type { ServerContext } from "../service/context.js";

export function propsRoutes(app: Hono, context: ServerContext): void {
  const { config, model, gate } = context;
  const slots = (): number => model.engineOptions.sequences ?? 1;

  app.get("/props", async (c) => {
    const { info, id, defaults, text } = model.require();
    const { system, tools, calls, results } = await text.perform({ kind: "abilities" });
    const maxTokens = defaults.maxTokens ?? -1;
    return c.json({
      default_generation_settings: {
        params: {
          ...samplingSettings(mergeSampling({}, info.samplingDefaults)),
          max_tokens: maxTokens,
          n_predict: maxTokens,
          ignore_eos: false,
          stream: true,
          n_probs: 0,
        },
        n_ctx: info.contextTokens,
      },
      total_slots: slots(),
      model_alias: id,
      model_path: info.path,
      modalities: { vision: false, video: false, audio: false },
      endpoint_slots: config.slots,
      endpoint_props: false,
      endpoint_metrics: true,
      ui: config.page,
      chat_template: info.chatTemplate ?? "",
      chat_template_caps: {
        supports_system_role: system,
        supports_tools: tools,
        supports_tool_calls: calls,
        supports_tool_responses: results,
        supports_parallel_tool_calls: calls,
      },
      bos_token: info.bosText,
      eos_token: info.eosText,
      build_info: `hundredweight ${packageVersion()}`,
      is_sleeping: false,
      fim: Object.values(text.info.fim).every((token) => token !== undefined),
    });
  });

  app.get("/slots", (c) => {
    if (!config.slots) throw unsupported("this server does not tell its slots: it was started with --no-slots");
    const { info } = model.require();
    const busy = Math.min(slots(), gate.count);
    const one = (id: number): object => ({
      id,
      n_ctx: info.contextTokens,
      speculative: false,
      is_processing: id < busy,
    });
    return c.json(Array.from({ length: slots() }, (_, id) => one(id)));
  });
  app.post("/slots/:id", () => {
    throw unsupported("there are no slots to save, restore or erase: prompts are kept by their tokens, for all");
  });
}

function unsupported(message: string): HttpError {
  return new HttpError(501, message, { type: "not_supported_error", code: "not_supported" });
}
