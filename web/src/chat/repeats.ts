/** Whether a text has begun to repeat itself. Pure. */

/** Characters of the end that are looked at. */
const mostCharacters = 4000;
/** Shorter ones repeat in tables, lists and laughter. */
const leastCharacters = 120;
const leastTimes = 4;

/** @returns whether the end of the text is one passage, over and over, of any length */
export function repeatsItself(text: string): boolean {
  const end = text.slice(-mostCharacters);
  if (end.length < leastCharacters) return false;
  const { length } = end;
  for (let period = 1; period * leastTimes <= length; period++) {
    // So many characters have to agree with those a period before.
    const span = Math.max(leastCharacters, (leastTimes - 1) * period);
    if (span + period > length) return false;
    let same = 0;
    while (same < span && end[length - 1 - same] === end[length - 1 - same - period]) same++;
    if (same === span) return true;
  }
  return false;
}
