/**
 * How much of the long sweeps a test runs. `npm test` takes a part of each that fits its minutes;
 * `npm run test:sweeps` (HUNDREDWEIGHT_SWEEPS=whole) takes all of it.
 */
export const wholeSweeps = process.env.HUNDREDWEIGHT_SWEEPS === "whole";

/** @returns every `step`th of `all`, or all of it in a whole sweep */
export const sweep = <T>(all: readonly T[], step: number): readonly T[] =>
  wholeSweeps ? all : all.filter((_, n) => n % step === 0);
