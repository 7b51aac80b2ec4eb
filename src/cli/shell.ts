// Words for a shell: commands that are shown have to do what they say when they are typed.

/** @returns the word bare where it is harmless, else in single quotes */
export const quoted = (word: string): string =>
  /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
