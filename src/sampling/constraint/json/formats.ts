/**
 * `format` of strings as patterns over the whole text. Where a format is wider than any pattern, a part of it
 * everybody accepts.
 */
import { parsePattern } from "../regex/parse.js";
import type { Term, Terms } from "../regex/terms.js";

const year = "\\d{4}";
const day31 = "(0[1-9]|[12]\\d|3[01])";
const day30 = "(0[1-9]|[12]\\d|30)";
const day28 = "(0[1-9]|1\\d|2[0-8])";
/** Years divisible by 4, but by 100 only when by 400. */
const leapYear = "(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)";
const date =
  `(${year}-(0[13578]|1[02])-${day31}|${year}-(0[469]|11)-${day30}|${year}-02-${day28}|` + `${leapYear}-02-29)`;
const clock = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?";
const offset = "([Zz]|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
const octet = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const ipv4 = `(${octet}\\.){3}${octet}`;
const group = "[0-9a-fA-F]{1,4}";
const label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const pointer = "(/([^~/]|~[01])*)*";
const uriCharacter = "([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})";
const uriTail = `(${uriCharacter}|[\\[\\]])*(#${uriCharacter}*)?`;

/** Groups before and behind the `::` of an address, at most seven together. */
const ipv6 = [
  `(${group}:){7}${group}`,
  ...[0, 1, 2, 3, 4, 5, 6].map((n) => {
    const before = n === 0 ? "" : `${group}(:${group}){0,${n - 1}}`;
    const after = n === 6 ? `(${group})?` : `(${group}(:${group}){0,${5 - n}})?`;
    return n === 0 ? `::(${group}(:${group}){0,6})?` : `${before.replace(/\{0,\d+\}/, `{${n - 1}}`)}::${after}`;
  }),
  `${group}(:${group}){6}::`,
  `(${group}:){6}${ipv4}`,
  `::(ffff(:0{1,4})?:)?${ipv4}`,
].join("|");

const patterns: Readonly<Record<string, string>> = {
  date,
  time: `${clock}${offset}`,
  "date-time": `${date}[Tt]${clock}${offset}`,
  duration:
    "P(\\d+W|(\\d+Y(\\d+M(\\d+D)?)?|\\d+M(\\d+D)?|\\d+D)(T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S))?|" +
    "T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S))",
  email: `${atom}(\\.${atom})*@${label}(\\.${label})*`,
  "idn-email": `${atom}(\\.${atom})*@${label}(\\.${label})*`,
  hostname: `${label}(\\.${label})*`,
  "idn-hostname": `${label}(\\.${label})*`,
  ipv4,
  ipv6,
  uuid: "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
  uri: `[A-Za-z][A-Za-z0-9+.-]*:${uriCharacter}+(#${uriCharacter}*)?`,
  iri: `[A-Za-z][A-Za-z0-9+.-]*:${uriCharacter}+(#${uriCharacter}*)?`,
  "uri-reference": uriTail.replace("|[\\[\\]]", ""),
  "iri-reference": uriTail.replace("|[\\[\\]]", ""),
  "json-pointer": pointer,
  "relative-json-pointer": `(0|[1-9]\\d*)(#|${pointer})`,
  // How wide a number may be says nothing of its text.
  int32: "",
  int64: "",
  float: "",
  double: "",
};

/** @returns undefined when the format is not known; any text when it says nothing of a string */
export function formatTerm(terms: Terms, name: string): Term | undefined {
  if (!Object.hasOwn(patterns, name)) return undefined;
  const pattern = patterns[name]!;
  return pattern === "" ? terms.all : parsePattern(terms, pattern);
}
