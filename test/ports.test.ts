// Whether the holder of a port is found.
import { createServer } from 'node:net'
import t from 'tap'
import { describePortHolder } from '../src/ports.ts'

t.test('the process that listens on a port is named', { skip: process.platform !== 'linux' }, async (t) => {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  t.match(describePortHolder(address.port), new RegExp(`^process ${process.pid} \\(.*node`))
})

t.test('a port that nobody listens on has no holder', async (t) => {
  // Port 0 is asked for, never listened on.
  t.equal(describePortHolder(0), null)
})
