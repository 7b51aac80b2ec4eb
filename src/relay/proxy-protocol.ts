// Reads the PROXY protocol header that a load balancer puts before the first request of a connection. Pure, on whatever thread serves.
import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { plainAddress } from './forwarded.ts'
import { CR, LF } from './http1/octets.ts'

// Sections are those of HAProxy's doc/proxy-protocol.txt, which is the specification of both versions.

/** The longest header that is taken, with its addresses and whatever a sender adds in TLVs. No sender comes near it. */
export const PROXY_HEADER_LIMIT_BYTES = 4096

/** Who opened the connection to the proxy. */
export interface Source {
  /** As a socket would show it; an IPv4 address inside an IPv6 one is written as IPv4. */
  address: string
  port: number
}

export type ProxyHeader =
  | { kind: 'more' }
  | {
      kind: 'invalid'
      /** What is wrong with it, as the end of a sentence; it repeats nothing of what was sent. */
      detail: string
    }
  | {
      kind: 'header'
      /** Where the first byte after the header is. */
      next: number
      /**
       * null: the header names no client, and the peer of the socket stands for it. It may still be a client who writes
       * what follows (HAProxy sends LOCAL for one on its own Unix socket): forwarded fields in it are not the proxy's word.
       */
      source: Source | null
    }

const MORE: ProxyHeader = { kind: 'more' }
const invalid = (detail: string): ProxyHeader => ({ kind: 'invalid', detail })

const V1_BEGIN = Buffer.from('PROXY ', 'latin1')
const V1_LIMIT_BYTES = 107
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/**
 * Reads the header that a connection has to begin with. To be called where one is expected by the config and from nobody
 * but trusted proxies (§2): whether there is one is never guessed, and bytes that are not one are invalid.
 *
 * @param bytes what has arrived; only those from `start` to before `end` are looked at
 * @returns `more` while the bytes can still become a header; what else it says is final, whatever follows
 */
export function readProxyHeader(bytes: Uint8Array, start: number, end: number): ProxyHeader {
  if (start >= end) return MORE
  if (bytes[start] === V1_BEGIN[0]) return readVersion1(bytes, start, end)
  if (bytes[start] === V2_SIGNATURE[0]) return readVersion2(bytes, start, end)
  return invalid('it begins otherwise')
}

/** Whether the bytes are the mark, or as much of it as there are bytes. */
function isBeginOf(mark: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = Math.min(mark.length, end - start)
  for (let at = 0; at < length; at++) if (bytes[start + at] !== mark[at]) return false
  return true
}

// Version 1, one line of text (§2.1).

function readVersion1(bytes: Uint8Array, start: number, end: number): ProxyHeader {
  if (!isBeginOf(V1_BEGIN, bytes, start, end)) return invalid('it begins otherwise')
  const line = readLine(bytes, start, end)
  return typeof line === 'string' ? readNames(line, start + line.length + 2) : line
}

/** @returns the line without its CRLF */
function readLine(bytes: Uint8Array, start: number, end: number): string | ProxyHeader {
  const limit = start + V1_LIMIT_BYTES
  for (let at = start; at < Math.min(end, limit); at++) {
    if (bytes[at] === LF) return invalid('its line ends with LF alone')
    if (bytes[at] !== CR) continue
    if (at + 1 === limit) break
    if (at + 1 === end) return MORE
    // A single CR or LF must not be taken for the end of the line, and inside it neither can stand.
    if (bytes[at + 1] !== LF) return invalid('its line has a CR without LF')
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, at - start).toString('latin1')
  }
  return end < limit ? MORE : invalid(`its line is longer than ${V1_LIMIT_BYTES} bytes`)
}

// Zeroes at the front are not permitted, so that nothing can be read as octal.
const PORT = '(0|[1-9]\\d{0,4})'
const V1_NAMES = new RegExp(`^PROXY (TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ${PORT} ${PORT}$`)
const MAX_PORT = 65_535

function readNames(line: string, next: number): ProxyHeader {
  // The specification has the receiver ignore what follows UNKNOWN and serve the connection as that of its real peer. A
  // sender writes it for clients it has no address of, such as those on its own Unix socket.
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) return unknownClient(next)
  const [, family, from = '', to = '', fromPort, toPort] = V1_NAMES.exec(line) ?? []
  if (family === undefined) return invalid('its line is not of the form of version 1')
  const isAddress = family === 'TCP4' ? isIPv4 : isIPv6
  if (!isAddress(from) || !isAddress(to)) return invalid(`its line has what is no address of ${family}`)
  if (Number(fromPort) > MAX_PORT || Number(toPort) > MAX_PORT)
    return invalid('its line has a port above 65535')
  const address = family === 'TCP4' ? from : canonicalIPv6(from)
  return { kind: 'header', next, source: { address, port: Number(fromPort) } }
}

const unknownClient = (next: number): ProxyHeader => ({ kind: 'header', next, source: null })

/** One client has one spelling, for the lists and counts that go by address. */
const canonicalIPv6 = (address: string): string =>
  plainAddress(new SocketAddress({ address, family: 'ipv6' }).address)

// Version 2: signature, version and command, family and transport, length of the rest, addresses, TLVs (§2.2).

const V2_COMMAND_AT = 12
const V2_FAMILY_AT = 13
const V2_LENGTH_AT = 14
const V2_ADDRESSES_AT = 16

const LOCAL = 0x20
const PROXY = 0x21

interface Form {
  /** Both addresses and both ports. */
  bytes: number
  read(address: Uint8Array): Source | null
}

/** Two bytes in network order. */
const wordAt = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)

const NO_FORM: Form = { bytes: 0, read: () => null }

/** What a command PROXY can be about, by its byte of family and transport. */
const FORMS = new Map<number, Form>([
  // Unspecified: the UNKNOWN of version 1, and served like it. The receiver may reject it as well; both versions do the same here.
  [0x00, NO_FORM],
  [
    0x11,
    { bytes: 12, read: (bytes) => ({ address: bytes.subarray(0, 4).join('.'), port: wordAt(bytes, 8) }) },
  ],
  [0x21, { bytes: 36, read: (bytes) => ({ address: readIPv6(bytes), port: wordAt(bytes, 32) }) }],
  // A Unix socket of the proxy's machine: its path says nothing about who the client is.
  [0x31, { bytes: 216, read: () => null }],
  // Datagrams carry no HTTP/1.1, so their forms, 0x12, 0x22 and 0x32, are refused like those that do not exist.
])

function readIPv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, nth) => wordAt(bytes, 2 * nth).toString(16))
  return canonicalIPv6(groups.join(':'))
}

function readVersion2(bytes: Uint8Array, start: number, end: number): ProxyHeader {
  if (!isBeginOf(V2_SIGNATURE, bytes, start, end)) return invalid('it begins otherwise')
  const at = start + V2_COMMAND_AT
  if (at >= end) return MORE
  if (bytes[at] !== LOCAL && bytes[at] !== PROXY)
    return invalid('it has a version or command that does not exist')
  return readBlock(bytes, start, end, bytes[at] === LOCAL)
}

function readBlock(bytes: Uint8Array, start: number, end: number, isLocal: boolean): ProxyHeader {
  const at = start + V2_FAMILY_AT
  if (at >= end) return MORE
  // With LOCAL the block is skipped, its family included.
  const form = isLocal ? NO_FORM : FORMS.get(bytes[at] ?? 0)
  if (form === undefined) return invalid('it is about neither TCP nor a Unix stream')
  if (start + V2_ADDRESSES_AT > end) return MORE
  const length = wordAt(bytes, start + V2_LENGTH_AT)
  if (length < form.bytes) return invalid('it is too short for its addresses')
  if (V2_ADDRESSES_AT + length > PROXY_HEADER_LIMIT_BYTES)
    return invalid(`it is longer than ${PROXY_HEADER_LIMIT_BYTES} bytes`)
  const next = start + V2_ADDRESSES_AT + length
  // Addresses are not read before the whole block is there. The TLVs behind them are skipped, as a receiver may.
  if (next > end) return MORE
  const source = form.read(bytes.subarray(start + V2_ADDRESSES_AT, next))
  return { kind: 'header', next, source }
}
