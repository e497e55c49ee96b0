/** Ollama's registry: a manifest names layers by their hashes, a blob is read in ranges. */
import { HundredweightError } from "../../errors.js";
import type { Surroundings } from "../local/places.js";
import { layersOf, modelLayerOf } from "../local/scan-ollama.js";
import { discard, readJson, request } from "./http.js";
import { refusal } from "./refusals.js";
import type { RemoteFile } from "./remote-file.js";

const usualRegistry = "https://registry.ollama.ai";
const mostManifest = 1 << 20;

export interface OllamaName {
  /** `library` for those of Ollama itself. */
  readonly namespace: string;
  readonly model: string;
  readonly tag: string;
}

/** `llama3.2`, `llama3.2:1b`, `someone/model:tag`. @throws OPTION_INVALID */
export function parseOllamaName(text: string): OllamaName {
  const [, namespace = "library", model, tag = "latest"] =
    /^(?:([\w.-]{1,80})\/)?([\w][\w.-]{0,79})(?::([\w][\w.-]{0,79}))?$/.exec(text) ?? [];
  if (model === undefined || /^\.+$/.test(namespace))
    throw new HundredweightError("OPTION_INVALID", `'${text}' is no name like llama3.2 or llama3.2:1b`);
  return { namespace, model, tag };
}

/** @throws HUB_REFUSED, NETWORK_FAILED, CANCELLED */
export async function ollamaFile(name: OllamaName, system: Surroundings, signal: AbortSignal): Promise<RemoteFile> {
  const base = system.env.HUNDREDWEIGHT_OLLAMA_REGISTRY || usualRegistry;
  if (!URL.canParse(base))
    throw new HundredweightError("OPTION_INVALID", `HUNDREDWEIGHT_OLLAMA_REGISTRY: '${base}' is no address`);
  const { namespace, model, tag } = name;
  const shown = `ollama:${namespace === "library" ? "" : `${namespace}/`}${model}:${tag}`;
  const repository = `${base.replace(/\/+$/, "")}/v2/${namespace}/${model}`;
  const url = new URL(`${repository}/manifests/${tag}`);
  // Its registry asks for no account.
  const credentials = { origin: "", token: undefined };
  const asked = { name: shown, hub: "https://ollama.com", hasToken: false };
  const { response, url: at } = await request(url, credentials, { signal });
  if (!response.ok) {
    await discard(response);
    if (response.status === 404) throw new HundredweightError("HUB_REFUSED", `${shown}: Ollama has no such model`);
    throw refusal(response, asked);
  }
  const layer = modelLayerOf(layersOf(await readJson(response, at, mostManifest)));
  if (layer === undefined)
    throw new HundredweightError("HUB_REFUSED", `${shown}: has no GGUF file; models in other forms are not read`);
  return {
    file: `${model}-${tag}.gguf`,
    url: new URL(`${repository}/blobs/sha256:${layer.sha256}`),
    credentials,
    asked,
    bytes: layer.bytes,
    sha256: layer.sha256,
  };
}
