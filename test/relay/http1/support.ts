// Helpers of the tests of the relay's HTTP/1.1: heads read from text, and what is thrown. Pure.
import { HeadReader } from '../../../src/relay/http1/head.ts'
import { RELAY_CONFIG } from '../support.ts'

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
