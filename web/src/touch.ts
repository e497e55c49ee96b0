/** Whether one types on glass: Enter makes a new line there, as everywhere else on a phone. */
export const isTouch = (): boolean => matchMedia("(pointer: coarse)").matches;
