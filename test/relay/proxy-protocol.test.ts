// The PROXY protocol header: what is taken, what is refused, and that it is the same however the bytes arrive.
import { isIPv6, SocketAddress } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import {
  PROXY_HEADER_LIMIT_BYTES,
  type ProxyHeader,
  readProxyHeader,
  type Source,
} from '../../src/relay/proxy-protocol.ts'
import { IPV6, SIGNATURE, TCP4_BLOCK, TCP6_BLOCK, TLVS, version2 } from './proxy-headers.ts'

const read = (bytes: Buffer): ProxyHeader => readProxyHeader(bytes, 0, bytes.length)

const line = (text: string): Buffer => Buffer.from(`${text}\r\n`, 'latin1')

const MAPPED = '00000000000000000000ffffc0000201'

const IPV4_CLIENT = { address: '192.0.2.1', port: 55_555 }
const IPV6_CLIENT = { address: '2001:db8::1', port: 55_555 }

/** Whole headers, and the client that each names. */
const TAKEN: [sentence: string, header: Buffer, source: Source | null][] = [
  [
    'a line for IPv4 names its client',
    line('PROXY TCP4 192.0.2.1 198.51.100.2 55555 80'),
    { address: '192.0.2.1', port: 55_555 },
  ],
  [
    'a line may have the longest of IPv4',
    line('PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535'),
    { address: '255.255.255.255', port: 65_535 },
  ],
  [
    'a line may have port 0',
    line('PROXY TCP4 192.0.2.1 198.51.100.2 0 0'),
    { address: '192.0.2.1', port: 0 },
  ],
  ['a line for IPv6 names its client', line('PROXY TCP6 2001:db8::1 2001:db8::2 55555 443'), IPV6_CLIENT],
  [
    'a line may have the longest of IPv6, in capitals',
    line(
      'PROXY TCP6 FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF 65535 65535',
    ),
    { address: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', port: 65_535 },
  ],
  [
    'an IPv6 address has one spelling, whatever was sent',
    line('PROXY TCP6 2001:0DB8:0:0::0001 ::1 55555 443'),
    IPV6_CLIENT,
  ],
  [
    'an IPv4 address inside an IPv6 one is written as IPv4',
    line('PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:0202 55555 443'),
    IPV4_CLIENT,
  ],
  ['a line with UNKNOWN keeps the real peer', line('PROXY UNKNOWN'), null],
  [
    'what follows UNKNOWN is ignored, up to 107 bytes in all',
    line(`PROXY UNKNOWN ${'f'.repeat(107 - 16)}`),
    null,
  ],
  ['version 2 for IPv4 names its client', version2('2111', TCP4_BLOCK), IPV4_CLIENT],
  ['version 2 for IPv6 names its client', version2('2121', TCP6_BLOCK), IPV6_CLIENT],
  [
    'version 2 writes an IPv4 address inside an IPv6 one as IPv4',
    version2('2121', `${MAPPED}${MAPPED}d9030050`),
    IPV4_CLIENT,
  ],
  ['TLVs behind addresses of IPv4 are skipped', version2('2111', TCP4_BLOCK + TLVS), IPV4_CLIENT],
  ['TLVs behind addresses of IPv6 are skipped', version2('2121', TCP6_BLOCK + TLVS), IPV6_CLIENT],
  [
    'a header may be as long as the limit',
    version2('2111', TCP4_BLOCK.padEnd(2 * (PROXY_HEADER_LIMIT_BYTES - 16), '0')),
    IPV4_CLIENT,
  ],
  ['a connection of the proxy itself keeps the real peer', version2('2000', ''), null],
  [
    'a connection of the proxy itself may have addresses and TLVs, which are skipped',
    version2('2011', TCP4_BLOCK + TLVS),
    null,
  ],
  ['the family of LOCAL is ignored, even one that does not exist', version2('20ff', 'ab'), null],
  ['an unspecified family keeps the real peer', version2('2100', ''), null],
  ['an unspecified family keeps the real peer, whatever follows', version2('2100', TLVS), null],
  ['a client on a Unix socket keeps the real peer', version2('2131', '2f'.repeat(216)), null],
]

/** What can no longer become a header, and why. */
const REFUSED: [sentence: string, bytes: Buffer, detail: RegExp][] = [
  ['a request is no header', line('GET / HTTP/1.1\r\nHost: a.test\r\n'), /begins otherwise/],
  ['a request that begins like one is none', line('POST / HTTP/1.1'), /begins otherwise/],
  ['a TLS hello is no header', Buffer.from('160301', 'hex'), /begins otherwise/],
  ['an empty line is no header', line('\r\nGET / HTTP/1.1'), /begins otherwise/],
  ['the word is in capitals', line('proxy UNKNOWN'), /begins otherwise/],
  ['one letter off is no header', line('PROXI TCP4 192.0.2.1 198.51.100.2 1 2'), /begins otherwise/],
  ['a tab is no space', line('PROXY\tTCP4 192.0.2.1 198.51.100.2 1 2'), /begins otherwise/],
  ['spaces are single', line('PROXY  TCP4 192.0.2.1 198.51.100.2 1 2'), /form of version 1/],
  ['spaces are single, inside as well', line('PROXY TCP4 192.0.2.1  198.51.100.2 1 2'), /form of version 1/],
  ['nothing stands after the ports', line('PROXY TCP4 192.0.2.1 198.51.100.2 1 2 '), /form of version 1/],
  ['nothing is left out', line('PROXY TCP4 192.0.2.1 198.51.100.2 1'), /form of version 1/],
  ['a line needs a family', line('PROXY '), /form of version 1/],
  ['a family that does not exist', line('PROXY TCP5 192.0.2.1 198.51.100.2 1 2'), /form of version 1/],
  ['datagrams have no line', line('PROXY UDP4 192.0.2.1 198.51.100.2 1 2'), /form of version 1/],
  ['a word that begins like UNKNOWN', line('PROXY UNKNOWNS'), /form of version 1/],
  ['an IPv6 address in a line for IPv4', line('PROXY TCP4 ::1 ::2 1 2'), /no address of TCP4/],
  ['an IPv4 address in a line for IPv6', line('PROXY TCP6 192.0.2.1 198.51.100.2 1 2'), /no address of TCP6/],
  ['an address with zeroes at the front', line('PROXY TCP4 192.0.02.1 198.51.100.2 1 2'), /no address/],
  ['an address of three numbers', line('PROXY TCP4 192.0.2 198.51.100.2 1 2'), /no address/],
  ['a number above 255', line('PROXY TCP4 192.0.2.256 198.51.100.2 1 2'), /no address/],
  ['a destination that is no address', line('PROXY TCP4 192.0.2.1 198.51.100 1 2'), /no address/],
  ['two double colons', line('PROXY TCP6 1::2::3 ::1 1 2'), /no address/],
  ['an address with a zone', line('PROXY TCP6 fe80::1%eth0 ::1 1 2'), /form of version 1/],
  ['an address in brackets', line('PROXY TCP6 [::1] [::1] 1 2'), /form of version 1/],
  ['a name for an address', line('PROXY TCP4 localhost localhost 1 2'), /form of version 1/],
  ['a port with a zero at the front', line('PROXY TCP4 192.0.2.1 198.51.100.2 01 2'), /form of version 1/],
  ['a port with a sign', line('PROXY TCP4 192.0.2.1 198.51.100.2 +1 2'), /form of version 1/],
  ['a port above all ports', line('PROXY TCP4 192.0.2.1 198.51.100.2 65536 2'), /port above/],
  ['a destination port above all ports', line('PROXY TCP4 192.0.2.1 198.51.100.2 1 65536'), /port above/],
  ['a NUL inside', line('PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2'), /form of version 1/],
  [
    'LF alone ends no line, so no request is swallowed',
    line('PROXY UNKNOWN\nGET / HTTP/1.1'),
    /ends with LF alone/,
  ],
  ['CR alone ends no line', line('PROXY UNKNOWN\rGET / HTTP/1.1'), /CR without LF/],
  ['a second CR', line('PROXY UNKNOWN\r'), /CR without LF/],
  ['a line of 108 bytes', line(`PROXY UNKNOWN ${'f'.repeat(108 - 16)}`), /longer than 107 bytes/],
  ['107 bytes without an end', Buffer.from(`PROXY UNKNOWN ${'f'.repeat(107 - 14)}`), /longer than 107 bytes/],
  ['a signature that is one byte off', Buffer.from('0d0a0d0a000d0a515549540d', 'hex'), /begins otherwise/],
  ['version 1 in binary', version2('1111', TCP4_BLOCK), /version or command/],
  ['a version that does not exist', version2('3111', TCP4_BLOCK), /version or command/],
  ['a command that does not exist', version2('2211', TCP4_BLOCK), /version or command/],
  ['UDP over IPv4', version2('2112', TCP4_BLOCK), /neither TCP nor/],
  ['UDP over IPv6', version2('2122', TCP6_BLOCK), /neither TCP nor/],
  ['datagrams of a Unix socket', version2('2132', '2f'.repeat(216)), /neither TCP nor/],
  ['a family that does not exist', version2('2141', TCP4_BLOCK), /neither TCP nor/],
  ['a transport that does not exist', version2('2113', TCP4_BLOCK), /neither TCP nor/],
  ['a transport without a family', version2('2101', TCP4_BLOCK), /neither TCP nor/],
  ['a family without a transport', version2('2110', TCP4_BLOCK), /neither TCP nor/],
  ['a block too short for IPv4', version2('2111', TCP4_BLOCK.slice(2)), /too short/],
  ['a block too short for IPv6', version2('2121', TCP4_BLOCK), /too short/],
  ['a block too short for Unix sockets', version2('2131', '2f'.repeat(215)), /too short/],
  ['a length above the limit', version2('2111', '', PROXY_HEADER_LIMIT_BYTES - 15), /longer than 4096/],
  ['a length above the limit in LOCAL', version2('2000', '', 0xffff), /longer than 4096/],
]

/** Bytes of a first request, which are nobody's to read here. */
const REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n')

for (const [sentence, header, source] of TAKEN) {
  t.test(sentence, async (t) => {
    const taken = { kind: 'header', next: header.length, source }
    t.strictSame(read(header), taken)
    t.strictSame(read(Buffer.concat([header, REQUEST])), taken, 'with a request behind it')
    const cuts = Array.from(header.keys()).filter((end) => readProxyHeader(header, 0, end).kind !== 'more')
    t.strictSame(cuts, [], 'and needs all of its bytes')
  })
}

t.test('what is no header is refused', async (t) => {
  for (const [sentence, bytes, detail] of REFUSED) t.match(read(bytes), { kind: 'invalid', detail }, sentence)
})

t.test('other bytes are refused at the first that does not fit', async (t) => {
  t.equal(read(Buffer.from('G')).kind, 'invalid')
  t.equal(read(Buffer.from('PO')).kind, 'invalid')
  t.equal(read(Buffer.from('PROXY')).kind, 'more')
  t.equal(read(Buffer.from('\r\nG')).kind, 'invalid')
  t.equal(read(Buffer.from(`${SIGNATURE}11`, 'hex')).kind, 'invalid')
  t.equal(read(Buffer.from(`${SIGNATURE}2112`, 'hex')).kind, 'invalid')
  t.equal(read(Buffer.from(`${SIGNATURE}2111ffff`, 'hex')).kind, 'invalid')
})

t.test('nothing has arrived yet', async (t) => {
  t.strictSame(read(Buffer.alloc(0)), { kind: 'more' })
  t.strictSame(readProxyHeader(REQUEST, 5, 5), { kind: 'more' })
})

// Properties. A failing one prints its seed and the smallest case.

const ipv4 = fc.ipV4().filter((address) => !address.includes('/'))
const ipv6 = fc.ipV6().filter(isIPv6)
const port = fc.integer({ min: 0, max: 65_535 })
const tail = fc.uint8Array({ maxLength: 64 })

/** As the system writes it, which is how the peer of a socket is named. */
const asSocket = (address: string): string =>
  new SocketAddress({ address, family: isIPv6(address) ? 'ipv6' : 'ipv4' }).address.replace(
    /^::ffff:(?=\d+\.)/,
    '',
  )

const clients = fc.oneof(
  fc.tuple(fc.constant('TCP4'), ipv4, ipv4, port, port),
  fc.tuple(fc.constant('TCP6'), ipv6, ipv6, port, port),
)

t.test('every line names the client that it was written for', async () => {
  fc.assert(
    fc.property(clients, tail, ([family, from, to, fromPort, toPort], rest) => {
      const header = line(`PROXY ${family} ${from} ${to} ${fromPort} ${toPort}`)
      const result = read(Buffer.concat([header, rest]))
      const source = result.kind === 'header' && result.source
      return source !== false && source?.address === asSocket(from) && source.port === fromPort
    }),
  )
})

const hex = (value: number, bytes: number): string => value.toString(16).padStart(2 * bytes, '0')

t.test('every block of version 2 names the client that it was written for', async () => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }))
  const groups = fc.array(group, { minLength: 8, maxLength: 8 })
  fc.assert(
    fc.property(groups, port, tail, (from, fromPort, rest) => {
      const address = from.map((one) => hex(one, 2)).join('')
      const tlvs = Buffer.from(rest).toString('hex')
      const result = read(version2('2121', `${address}${IPV6}${hex(fromPort, 2)}0050${tlvs}`))
      const source = result.kind === 'header' && result.source
      const expected = asSocket(from.map((one) => one.toString(16)).join(':'))
      return source !== false && source?.address === expected && source.port === fromPort
    }),
  )
})

/** Bytes that are nearly headers: whole ones with bytes changed, put in and left out, and others. */
const near = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .tuple(
      fc.constantFrom(...TAKEN.map(([, header]) => header), ...REFUSED.map(([, bytes]) => bytes)),
      fc.array(
        fc.tuple(
          fc.nat(),
          fc.constantFrom('change', 'put in', 'leave out'),
          fc.integer({ max: 255, min: 0 }),
        ),
        {
          maxLength: 3,
        },
      ),
      tail,
    )
    .map(([header, edits, rest]) => {
      const bytes = [...header]
      for (const [where, edit, byte] of edits) {
        const at = where % (bytes.length + 1)
        if (edit === 'change') bytes[at] = byte
        else bytes.splice(at, edit === 'put in' ? 0 : 1, ...(edit === 'put in' ? [byte] : []))
      }
      return Uint8Array.from([...bytes, ...rest])
    }),
)

t.test('whatever the bytes, it never throws and never goes beyond their end', async (t) => {
  let headers = 0
  fc.assert(
    fc.property(near, (bytes) => {
      const result = readProxyHeader(bytes, 0, bytes.length)
      if (result.kind !== 'header') return
      headers += 1
      if (result.next < 15 || result.next > Math.min(bytes.length, PROXY_HEADER_LIMIT_BYTES))
        throw new Error(`the first byte after it would be at ${result.next}`)
    }),
    { numRuns: 5_000 },
  )
  t.ok(headers > 100, 'and many of them are headers')
})

t.test('bytes outside of start and end change nothing', async () => {
  fc.assert(
    fc.property(near, tail, tail, fc.nat(), (bytes, before, after, cut) => {
      const end = cut % (bytes.length + 1)
      const alone = readProxyHeader(bytes.slice(0, end), 0, end)
      const around = Uint8Array.from([...before, ...bytes, ...after])
      const within = readProxyHeader(around, before.length, before.length + end)
      const expected = alone.kind === 'header' ? { ...alone, next: alone.next + before.length } : alone
      return JSON.stringify(within) === JSON.stringify(expected)
    }),
    { numRuns: 2_000 },
  )
})

t.test('byte by byte or at once is the same, and what was said is final', async () => {
  fc.assert(
    fc.property(near, (bytes) => {
      const atOnce = JSON.stringify(readProxyHeader(bytes, 0, bytes.length))
      for (let end = 0; end < bytes.length; end++) {
        const result = readProxyHeader(bytes, 0, end)
        if (result.kind !== 'more' && JSON.stringify(result) !== atOnce) return false
      }
      return true
    }),
    { numRuns: 1_000 },
  )
})
