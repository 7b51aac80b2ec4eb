// Classes of octets in an HTTP/1.1 message, as tables: one look-up per octet. Pure.

/** RFC 9110 §5.6.2; `_` has a bit of its own, because names with it can be look-alikes of others. */
export const TOKEN = 1
export const UNDERSCORE = 2

function table(fill: (octet: number) => number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) => fill(octet))
}

const TOKEN_SIGNS = "!#$%&'*+-.^_`|~"
const isAlphanumeric = (octet: number): boolean => /[A-Za-z0-9]/.test(String.fromCharCode(octet))

/** 0: not an octet of a token. */
export const TOKENS = table((octet) => {
  if (octet > 127) return 0
  if (octet === 0x5f) return TOKEN | UNDERSCORE
  return isAlphanumeric(octet) || TOKEN_SIGNS.includes(String.fromCharCode(octet)) ? TOKEN : 0
})

/**
 * 1: may stand in a request target. Wider than RFC 3986, since browsers send `|` and `{`; not `#`, which never leaves a
 * browser, and nothing beyond ASCII, which parsers do not agree on.
 */
export const TARGETS = table((octet) => (octet > 0x20 && octet < 0x7f && octet !== 0x23 ? 1 : 0))

/** 1: may stand in a field value or a reason phrase (RFC 9110 §5.5): HTAB, SP, VCHAR and obs-text. */
export const VALUES = table((octet) => (octet === 0x09 || (octet >= 0x20 && octet !== 0x7f) ? 1 : 0))

/** The value of a hexadecimal digit; 16: it is none. */
export const HEX = table((octet) => {
  const digit = Number.parseInt(String.fromCharCode(octet), 16)
  return Number.isNaN(digit) ? 16 : digit
})

export const HTAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SP = 0x20
export const QUOTE = 0x22
export const ZERO = 0x30
export const NINE = 0x39
export const COLON = 0x3a
export const SEMICOLON = 0x3b
export const EQUALS = 0x3d
export const BACKSLASH = 0x5c
