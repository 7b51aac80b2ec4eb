// What is asked for and what is answered in the bench: bytes that are made once, the same for every proxy.

const MEBIBYTE = 1024 * 1024
const JSON_BYTES = 32 * 1024

/** The fields of a page's next request as Chrome sends them: fifteen, with Host. */
const BROWSER_FIELDS = [
  'Host: bench.localhost',
  'Connection: keep-alive',
  'sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
  'sec-ch-ua-mobile: ?0',
  'sec-ch-ua-platform: "Linux"',
  'Upgrade-Insecure-Requests: 1',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8',
  'Sec-Fetch-Site: same-origin',
  'Sec-Fetch-Mode: navigate',
  'Sec-Fetch-Dest: document',
  'Referer: http://bench.localhost/invoices?page=1&sort=due',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Accept-Language: en-GB,en;q=0.9,de;q=0.8',
  'Cookie: session=7f3b9c52e1d84a06b7c9f3a1d2e45b68; theme=dark; consent=analytics%3D0',
] as const

export interface RequestOptions {
  body?: Buffer
  /** What stands in the Connection field. */
  connection?: 'keep-alive' | 'close'
}

/** A request as a browser sends it. */
export function browserRequest(
  method: string,
  target: string,
  { body, connection = 'keep-alive' }: RequestOptions = {},
): Buffer {
  const fields = BROWSER_FIELDS.map((field) => field.replace(': keep-alive', `: ${connection}`))
  if (body) fields.push('Content-Type: application/json', `Content-Length: ${body.length}`)
  const head = Buffer.from([`${method} ${target} HTTP/1.1`, ...fields, '', ''].join('\r\n'))
  return body ? Buffer.concat([head, body]) : head
}

/** Bytes that are the same in every run and in no place repeat those before. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = 0x9e3779b9
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}

function jsonOf(length: number): Buffer {
  const item = '{"number":"2026-0001","customer":"Ada","total":"119.00"},'
  const begun = `[${item.repeat(Math.floor(length / item.length) - 1)}"`
  return Buffer.from(`${begun.padEnd(length - 2, '.')}"]`)
}

export const LARGE_BODY = noise(MEBIBYTE)
export const JSON_BODY = jsonOf(JSON_BYTES)
export const TAKEN = Buffer.from('{"taken":true}')
export const SLOT_BYTES = 300
/** What a slot answers where it is asked who it is. */
export const slotBody = (name: string): Buffer => Buffer.from(name.padEnd(SLOT_BYTES, ' '))

export const SMALL_BODY = Buffer.from(
  `{"invoices":[${'{"number":"2026-0001","customer":"Ada","total":"119.00"},'.repeat(4)}null]}`.padEnd(
    300,
    ' ',
  ),
)

const RESPONSE_FIELDS = [
  'Date: Mon, 02 Nov 2026 08:00:00 GMT',
  'Content-Type: application/json; charset=utf-8',
  'Cache-Control: private, no-cache',
  'ETag: W/"12c-u2bYjfYnVvO1dGRT0fGzTq0Wl0E"',
  'Vary: Accept-Encoding, Cookie',
  'X-Content-Type-Options: nosniff',
] as const

/** @param more fields, each as `Name: value` */
export function response(body: Buffer, more: readonly string[] = []): Buffer {
  return Buffer.concat([headOf([`Content-Length: ${body.length}`, ...more]), body])
}

/** The same body in this many chunks. */
export function chunkedResponse(body: Buffer, chunks: number): Buffer {
  const size = Math.ceil(body.length / chunks)
  const parts = Array.from({ length: chunks }, (_, index) => body.subarray(index * size, (index + 1) * size))
  const framed = parts.flatMap((part) => [
    Buffer.from(`${part.length.toString(16)}\r\n`),
    part,
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([headOf(['Transfer-Encoding: chunked']), ...framed, Buffer.from('0\r\n\r\n')])
}

function headOf(more: readonly string[]): Buffer {
  return Buffer.from(['HTTP/1.1 200 OK', ...RESPONSE_FIELDS, ...more, '', ''].join('\r\n'))
}
