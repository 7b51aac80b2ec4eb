// What is said on each answer of a preview, so that nobody, and no cache, takes it for one of the live release. Pure.

const FIELD = 'slotgate-preview'

/** A release may be called what no field can hold. */
export const previewField = (release: string): string => `${FIELD}: ${release.replace(/[^!-~]/g, '?')}\r\n`

/** What would let a cache keep it. */
const CACHING =
  /^(?:cache-control|expires|pragma|surrogate-control|[\w-]+-cache-control|slotgate-preview):.*\r\n/gim

/**
 * @param head of an answer as it goes to the client, from the status line to the empty line
 * @returns the same, which says whose it is and which nobody keeps
 */
export const previewed = (head: string, release: string): string =>
  `${head.replace(CACHING, '').slice(0, -2)}Cache-Control: no-store\r\n${previewField(release)}\r\n`
