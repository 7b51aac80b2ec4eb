// What the runner of the tests has had compiled already, for processes that get an environment of their own.
const { NODE_COMPILE_CACHE } = process.env

/** To be added to their environment. */
export const COMPILED: Readonly<Record<string, string>> = NODE_COMPILE_CACHE ? { NODE_COMPILE_CACHE } : {}
