// Whether the ports a booted process is given are free, and stay so until it takes them.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { freePorts } from '../../src/slots/free-ports.ts'

/** Binds it for as long as the test lasts; somebody else's hold on it serves as well. */
async function occupy(t: Test, port: number): Promise<void> {
  const server = createServer()
  await new Promise<void>((done) => server.once('error', () => done()).listen(port, '127.0.0.1', done))
  t.teardown(() => new Promise<void>((closed) => server.close(() => closed())))
}

t.test('no boot is given a port that another one was given a moment ago', async (t) => {
  const found = (await Promise.all(Array.from({ length: 50 }, freePorts))).flat()
  t.equal(new Set(found).size, 100)
})

t.test('a port that somebody listens on is passed over', async (t) => {
  const [, last] = await freePorts()
  await Promise.all([occupy(t, last + 1), occupy(t, last + 2)])
  const found = await freePorts()
  for (const port of found) t.notOk([last + 1, last + 2].includes(port), `${port} was free`)
})

const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '')
const [first = 0] = range.split(/\s+/).map(Number)
const skip = first > 29_999 ? false : 'the system takes ports of its own from 20000 to 29999'

t.test('an outgoing connection never takes a port between its choice and its use', { skip }, async (t) => {
  const found = await freePorts()
  for (const port of found)
    t.ok(port < first, `the system takes ports from ${first} on by itself, not ${port}`)
})
