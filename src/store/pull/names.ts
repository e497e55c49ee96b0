/** Names that come from a hub or a person and become folders and files. */
import { HundredweightError } from "../../errors.js";

const repoPart = /^(?!.*(?:--|\.\.))[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;

/** `org/name`, as Hugging Face names repositories. */
export function isRepo(text: string): boolean {
  const parts = text.split("/");
  return parts.length === 2 && parts.every((part) => repoPart.test(part));
}

/** Names that Windows keeps for devices, whatever ending they have. */
const devices = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * A path of a hub that is safe as one below a folder, on every system: nothing that leaves it, hides in it or cannot be
 * written.
 * @throws NETWORK_FAILED
 */
export function safePath(path: string): string {
  const parts = path.split("/");
  const sound =
    path.length <= 1000 &&
    parts.length <= 8 &&
    parts.every(
      (part) =>
        part !== "" &&
        !part.startsWith(".") &&
        !/[ .]$/.test(part) &&
        !/[\u0000-\u001f\u007f<>:"\\|?*\ufffd]/.test(part) &&
        !devices.test(part) &&
        Buffer.byteLength(part) <= 200,
    );
  if (!sound)
    throw new HundredweightError(
      "NETWORK_FAILED",
      `the hub names a file '${path.slice(0, 100)}', which may not be written: ` +
        "a name that leaves its folder, or that no file can have everywhere",
    );
  return path;
}

/** A name that a person gives a model: no path, and nothing that reads like a hub's name. */
export function checkAlias(alias: string): string {
  if (!/^[\p{L}\p{N}][\p{L}\p{N}._-]{0,63}(:[\p{L}\p{N}._-]{1,32})?$/u.test(alias) || /\.gguf$/i.test(alias))
    throw new HundredweightError("OPTION_INVALID", `--as: '${alias}' is no name like llama or my-model:8b`);
  return alias;
}
