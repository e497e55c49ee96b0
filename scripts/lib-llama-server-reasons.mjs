// Why tests of llama.cpp's server do not pass here: the first pattern that fits `file::test` says it.
const words = "the words of a seed, or of a kernel's last bit: other random numbers and another order of summing";
const noTools = "the server runs no tools and no MCP servers itself";
const noImages = "there are no images";
const noShift = "a shift leaves out a page of 256 tokens: the test's context is too short for it (decision 0096)";
const noSlots = "there are no slots: prompts are kept by their tokens for all (decision 0044)";
const noRouter = "llama-server's router is another interface; models are changed by naming one (decision 0065)";

export const reasons = [
  [/^test_basic::test_server_multiple_addresses/, "one address is listened on, not several"],
  [/^test_basic::test_load_split_model/, "the split model comes from a hub; the bundled one answers in its place"],
  [/^test_basic::test_no_ui/, "GET / is Ollama's greeting unless HTML is asked for (decision 0045)"],
  [/::test_chat_completion\[.*Whillicter/, "parts of a content are joined by no line feed, and the words of a seed"],
  [/::test_chat_template_assistant_prefill\[prefill1/, "parts of an answer that is gone on with are joined by nothing"],
  [/::test_invalid_chat_completion_req\[messages7/, "two answers of the assistant at the end are taken"],
  [/^test_chat_completion::/, words],
  [/^test_compat_anthropic::test_anthropic_(tool_result_with_image|vision)/, noImages],
  [/^test_compat_anthropic::test_anthropic_empty_messages/, "an empty list of messages is a 400, as at Anthropic"],
  [/^test_compat_gcp::/, "Vertex AI's predict route is not offered"],
  [
    /^test_compat_oai_responses::test_responses_stream_with_llama/,
    "an answer that is cut ends with `response.incomplete`, as at OpenAI",
  ],
  [/^test_compat_oai_responses::/, words],
  [
    /^test_completion::test_cancel_request/,
    "headers go out at once, so that its time-out of 0.1 s strikes in the body",
  ],
  [/^test_completion::test_completion_parallel_slots/, "a pool of KV that is outgrown waits and gives no 500"],
  [/^test_completion::test_cache_vs_nocache_prompt/, "skipped by its authors"],
  [/^test_completion::test_completion_stream_vs|first_token/, "headers go out at once, before the first token"],
  [/^test_completion::/, words],
  [/^test_ctx_shift::test_ctx_shift_enabled/, noShift],
  [/^test_ctx_shift::/, "an answer may have one token more, which is not evaluated"],
  [/^test_infill::test_with_qwen_model/, "skipped by its authors as slow"],
  [/^test_infill::/, "the words of a seed, by another order of the prompt (decision 0044)"],
  [/^test_kv_keep_only_active::/, "it reads llama-server's log"],
  [/^test_lora::/, "its adapter and its model come from a hub"],
  [/^test_mcp_servers::/, noTools],
  [/^test_metrics::test_metrics_disabled/, "metrics are always on"],
  [/^test_proxy::/, "the server is no proxy"],
  [/^test_rerank::test_rerank(_tei_format)?$/, "the stand-in is random: what fits best is not what they expect"],
  [/^test_rerank::test_rerank_usage/, "the stand-in has another vocabulary, so other counts of tokens"],
  [/^test_router::/, noRouter],
  [/^test_security::test_access_static_assets/, "the page needs the key, too"],
  [/^test_security::test_cors_options\[origin/, "other origins get no credentials (decision 0044)"],
  [/^test_security::test_cors_options\[web/, "`authorization` is named beside the star, as browsers want"],
  [/^test_security::test_cors_origins_defaults/, noTools],
  [/^test_security::test_cors_proxy/, "the server is no proxy"],
  [/^test_security::test_local_media_file/, noImages],
  [/^test_sleep::/, "a model is not put to sleep"],
  [/^test_slot_save::/, noSlots],
  [/^test_speculative::test_with_ctx_shift/, noShift],
  [/^test_speculative::test_slot_ctx_not_exceeded/, "the stand-in's vocabulary makes a prompt longer than the context"],
  [
    /^test_speculative::test_with_and_without/,
    "its last part wants guesses thrown away by chance (`--spec-synth-rates`)",
  ],
  [
    /^test_speculative::test_synth_is_deterministic/,
    "guesses come from earlier answers too: the same request is guessed better again",
  ],
  [/^test_speculative::test_multi_requests/, "the stand-in has other words"],
  [/^test_stream::/, "streams are not taken up again by a second request; the page's are"],
  [/^test_tools_builtin::/, noTools],
  [/^test_vision_api::/, noImages],
];

/** Tests of the files that have to pass, or have a reason here: what this server is for. */
export function reasonOf(test) {
  return reasons.find(([pattern]) => pattern.test(test))?.[1];
}
