/** Custom tools take one text; to a model they are functions with one argument of this name. */
export const customInput = "input";
