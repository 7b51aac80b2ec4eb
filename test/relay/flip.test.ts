// Flips under load: no request fails, and none is answered by a slot that had drained before the request began.
import { once } from 'node:events'
import { Agent, type IncomingMessage, request as send } from 'node:http'
import t from 'tap'
import { otherSlot, type SlotName } from '../../src/contract.ts'
import { startApp, startRelay } from './support.ts'

const FLIPS = 50
const CLIENTS = 8

interface Answer {
  status: number | undefined
  body: string
}

async function call(port: number, agent: Agent | false, nth: number): Promise<Answer> {
  const body = nth % 3 === 0 ? 'x'.repeat(10_000) : ''
  const request = send({
    port,
    host: '127.0.0.1',
    agent: agent || undefined,
    method: body ? 'POST' : 'GET',
    path: `/${nth}`,
  })
  if (!agent) request.setHeader('connection', 'close')
  request.end(body)
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of answer.setEncoding('latin1')) text += chunk
  return { status: answer.statusCode, body: text }
}

for (const threads of [0, 2])
  t.test(
    `${FLIPS} flips lose no request and never send one to a drained slot, on ${threads || 'no'} threads`,
    async (t) => {
      const bench = await startRelay(t, { threads })
      const release = (name: string) =>
        startApp(t, async (request, response) => {
          for await (const _ of request);
          response.writeHead(200, { 'content-type': 'text/plain' }).write(name.slice(0, 1))
          // A part of the answers is under way for a few turns of the loop, across flips.
          setImmediate(() => response.end(name.slice(1)))
        })
      const apps = { blue: await release('blue'), green: await release('green') }
      let drainedGeneration = 0
      let stopped = false
      const failures: string[] = []
      let answers = 0

      /** One after the other, on a kept or on new connections. */
      async function client(agent: Agent | false): Promise<void> {
        for (let nth = 0; !stopped; nth++) {
          const before = { drained: drainedGeneration, now: bench.table.pointer(0) }
          const { status, body } = await call(bench.port, agent, nth).catch((error: Error) => ({
            status: 0,
            body: error.message,
          }))
          answers++
          const after = bench.table.pointer(0)
          if (status !== 200) failures.push(`${status} ${body}`)
          // While nothing was flipped, only the live slot may have answered: the other one had drained before.
          else if (
            before.drained === before.now.generation - 1 &&
            after.generation === before.now.generation
          ) {
            if (body !== before.now.slot)
              failures.push(`${body} answered while only ${before.now.slot} was live`)
          }
        }
      }

      await bench.promote(apps.blue.address, 'blue')
      const agents = Array.from({ length: CLIENTS }, (_, nth) =>
        nth % 2 === 0 ? new Agent({ keepAlive: true, maxSockets: 1 }) : (false as const),
      )
      const clients = agents.map(client)
      let slot: SlotName = 'blue'
      for (let flip = 0; flip < FLIPS; flip++) {
        const seen = answers
        slot = otherSlot(slot)
        await bench.relay.setBackend(0, slot, { release: `r${flip}`, addresses: [apps[slot].address] })
        const { generation } = bench.table.flip(0, slot)
        await bench.relay.whenDrained(0, [generation - 1], 'requests', AbortSignal.timeout(10_000))
        drainedGeneration = generation - 1
        t.same(bench.table.claims(0, generation - 1), { requests: 0, tunnels: 0 })
        // Let the new slot answer a few, so that flips and requests interleave in many ways.
        while (answers < seen + (flip % 5) * 3) await new Promise((resolve) => setImmediate(resolve))
      }
      stopped = true
      await Promise.all(clients)
      for (const agent of agents) if (agent) agent.destroy()
      t.same(failures, [])
      t.ok(answers > FLIPS, `${answers} requests`)
      t.equal(bench.claims(), 0)
    },
  )
