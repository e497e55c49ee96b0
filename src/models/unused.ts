/** Says which tensors the pass leaves alone: a line for each kind. */

const kinds: readonly { readonly of: RegExp; readonly what: string | undefined }[] = [
  { of: /^(v|a|mm|vision|audio|resampler)\./, what: "for images or sound are ignored: the model is run on text" },
  // Some files have keys and values of latent attention apart as well as together.
  { of: /attn_kv_b\.weight$/, what: undefined },
  // One of two sets is used, as the context is short or long.
  { of: /^rope_factors_(long|short)\.weight$/, what: undefined },
];

/** `layers`: of the trunk. Blocks behind it guess further tokens. */
export function unusedWarnings(names: readonly string[], layers: number): string[] {
  const isBehind = (name: string): boolean => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1) >= layers;
  const behind = names.filter(isBehind);
  const rest = names.filter((name) => !isBehind(name) && !kinds.some(({ of }) => of.test(name)));
  const said = kinds.flatMap(({ of, what }) => {
    const count = names.filter((name) => of.test(name)).length;
    return what === undefined || count === 0 ? [] : [`${count} tensors ${what}`];
  });
  return [
    ...(behind.length === 0 ? [] : [`${behind.length} tensors of blocks that guess further tokens are left out`]),
    ...said,
    ...(rest.length === 0 ? [] : [`${rest.length} tensors are not used: ${rest.slice(0, 8).join(", ")}`]),
  ];
}
