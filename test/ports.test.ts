// Whether the holder of a port is found, and said in a sentence.
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { listeningPortsOf, whoHolds } from '../src/ports.ts'

t.test('the process that listens on a port is named', { skip: process.platform !== 'linux' }, async (t) => {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  t.match(await whoHolds(port), new RegExp(`^Process ${process.pid} \\(.*node`))
  t.ok((await listeningPortsOf([process.pid])).includes(port))
})

t.test('for a port whose holder is not known, the sentence says how to find it', async (t) => {
  // Port 0 is asked for, never listened on.
  t.match(await whoHolds(0), /ss -ltnp 'sport = :0'/)
})
