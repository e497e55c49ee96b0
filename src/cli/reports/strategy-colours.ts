/** Colours of strategies as on the page: green for memory, orange for the disk. */
export const strategyColours = { resident: "green", streamed: "orange", experts: "orange" } as const;
