// What is asked of every proxy to find out what it costs.
import { browserRequest, JSON_BODY, LARGE_BODY, SMALL_BODY, TAKEN } from './canned.ts'
import type { ClosedLoad } from './load/closed.ts'

/** A closed load and how its figure is given. */
export interface Work {
  name: string
  title: string
  load: Omit<ClosedLoad, 'port'>
}

const CONNECTIONS = 64
/** Few enough that their bodies do not fill the caches by being many. */
const LARGE_CONNECTIONS = 8

export const WORKS: readonly Work[] = [
  {
    name: 'small-get',
    title: 'small GET',
    load: closed(browserRequest('GET', '/small'), SMALL_BODY),
  },
  {
    name: 'chunked',
    title: 'small GET, chunked response',
    load: closed(browserRequest('GET', '/chunked'), SMALL_BODY),
  },
  {
    name: 'down',
    title: '1 MiB down',
    load: { ...closed(browserRequest('GET', '/large'), LARGE_BODY), connections: LARGE_CONNECTIONS },
  },
  {
    name: 'up',
    title: '1 MiB up',
    load: {
      ...closed(browserRequest('POST', '/take', { body: LARGE_BODY }), TAKEN),
      connections: LARGE_CONNECTIONS,
    },
  },
  {
    name: 'json-post',
    title: '32 KiB JSON POST',
    load: closed(browserRequest('POST', '/take', { body: JSON_BODY }), TAKEN),
  },
  {
    name: 'new-connection',
    title: 'small GET, each on a new connection',
    load: {
      ...closed(browserRequest('GET', '/small', { connection: 'close' }), SMALL_BODY),
      connectsEach: true,
    },
  },
]

function closed(request: Buffer, answer: Buffer): Work['load'] {
  return { request, bodyBytes: answer.length, connections: CONNECTIONS, connectsEach: false }
}
