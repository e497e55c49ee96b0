/** Names of conversations and messages: made here and on the page, never taken from a request as a path. */

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

/** 26 characters: 48 bits of time, so that names sort by age, then 80 random bits. */
export function newId(now: number = Date.now()): string {
  let id = "";
  for (let shift = 45; shift >= 0; shift -= 5) id += alphabet[Math.floor(now / 2 ** shift) % 32]!;
  for (const byte of crypto.getRandomValues(new Uint8Array(16))) id += alphabet[byte % 32]!;
  return id;
}

export const idPattern = /^[0-9a-hjkmnp-tv-z]{26}$/;
