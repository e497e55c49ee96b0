/** Where the queue is: `redis://user:password@host:port/database`, `rediss://` with TLS. */
import { HundredweightError } from "../errors.js";

export interface QueueAddress {
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
  readonly tls: boolean;
  /** For people and logs: nothing secret is in it. */
  readonly shown: string;
}

const usualPort = 6379;
const variable = "HUNDREDWEIGHT_QUEUE";

/**
 * @param text of `--queue`; true: the option without a value, which is the variable's
 * @throws OPTION_INVALID, whose message holds nothing of the text: it may have a password in it
 */
export function parseQueueUrl(text: string | true): QueueAddress {
  const given = text === true ? process.env.HUNDREDWEIGHT_QUEUE : text;
  if (given === undefined || given === "")
    throw new HundredweightError("OPTION_INVALID", `--queue: no address, and ${variable} is not set`);
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw wrong("is no address");
  }
  const { protocol, hostname, port, username, password, pathname, search, hash } = url;
  if (protocol !== "redis:" && protocol !== "rediss:") throw wrong("begins with neither redis:// nor rediss://");
  if (hostname === "") throw wrong("names no host");
  if (search !== "" || hash !== "") throw wrong("has more behind the database");
  const [, database] = /^\/?(\d{0,5})$/.exec(pathname) ?? [];
  if (database === undefined) throw wrong("ends with something else than the number of a database");
  const number = port === "" ? usualPort : Number(port);
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const who = password !== "" || username !== "" ? `${username === "" ? "" : decoded(username)}:***@` : "";
  return {
    host,
    port: number,
    username: username === "" ? undefined : decoded(username),
    password: password === "" ? undefined : decoded(password),
    database: Number(database),
    tls: protocol === "rediss:",
    shown: `${protocol}//${who}${hostname}:${number}${database === "" ? "" : `/${database}`}`,
  };
}

const wrong = (why: string): HundredweightError =>
  new HundredweightError("OPTION_INVALID", `--queue ${why}; redis://:password@host:6379 is one, rediss:// with TLS`);

/** Letters that an address cannot hold stand in it as %40. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong("has a % in it that is no escape (a % is %25)");
  }
}
