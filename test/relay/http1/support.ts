// Helpers of the tests of the relay's HTTP/1.1: heads read from text, what is thrown, whole tables of texts, and a connection.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { HeadReader } from '../../../src/relay/http1/head.ts'
import { RELAY_CONFIG, type Scope } from '../support.ts'

export const octets = (text: string): Buffer => Buffer.from(text, 'latin1')

/** @returns the reader of this request, which must be whole; `lines` are its field lines */
export function requestOf(lines: string, first = 'GET / HTTP/1.1'): HeadReader {
  const head = new HeadReader(RELAY_CONFIG)
  const text = octets(`${first}\r\nHost: a.test\r\n${lines}\r\n`)
  if (head.readRequest(text, 0, text.length) !== text.length) throw new Error('not a whole head')
  return head
}

export function responseOf(lines: string, first = 'HTTP/1.1 200 OK'): HeadReader {
  const head = new HeadReader(RELAY_CONFIG)
  const text = octets(`${first}\r\n${lines}\r\n`)
  if (head.readResponse(text, 0, text.length) !== text.length) throw new Error('not a whole head')
  return head
}

/** @returns what was thrown; undefined: nothing */
export function thrownBy(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  return undefined
}

/** Holds the outcome for each of the texts to be this one, and names those for which it is not. */
export function each<Outcome>(
  t: Test,
  outcomeOf: (text: string) => Outcome,
  expected: Outcome,
  texts: readonly string[],
): void {
  for (const text of texts) t.equal(outcomeOf(text), expected, JSON.stringify(text))
}

/** Both ends of a connection over loopback. */
export async function meet(t: Scope): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect({ host: '127.0.0.1', port })
  t.teardown(() => client.destroy())
  const [accepted] = (await once(server, 'connection')) as [Socket]
  return { client, accepted }
}

/** Octets in no order that a shift or a gap would keep. */
export const patternOf = (size: number): Buffer =>
  Buffer.from(Array.from({ length: size }, (_, at) => (at * 7 + (at >> 8)) & 0xff))
