// What the clients of WebSockets live through when the release behind them leaves, and what an operator sees of it.
import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { isRunning, World } from '../support/world.ts'

/** Told one after the other, 5 ms apart, they take long enough for whatever would not wait for the last. */
const SOCKETS = 120

for (const threads of [0, 2]) {
  t.test(
    `with ${threads || 'no'} threads and \`previous: stop\`: every WebSocket gets its whole time, then 1001, and only then its release ends`,
    async (t) => {
      const world = await World.create(t)
      world.settings = [`threads: ${threads}`]
      world.service = ['previous: stop', 'drain: { within: 500ms, tunnels_within: 1500ms }']
      for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 42, max: 43 })
      await world.start(t)
      await world.deploy('r42')
      const { live } = await world.status()
      const sockets = Array.from({ length: SOCKETS }, () => new WebSocket(world.url.replace('http', 'ws')))
      await Promise.all(sockets.map((socket) => once(socket, 'open')))
      const flipped = world.deploy('r43')
      let ranOn = 0
      const ended = sockets.map(async (socket) => {
        const [code] = await once(socket, 'close')
        if (await isRunning(live?.pid ?? 0)) ranOn++
        return { code, atMs: Date.now() }
      })
      await flipped
      t.match((await world.status()).draining, [
        { release: 'r42', claims: { requests: 0, tunnels: SOCKETS } },
      ])
      const ends = await Promise.all(ended)
      t.same(new Set(ends.map(({ code }) => code)), new Set([1001]))
      t.ok(ranOn >= SOCKETS - 5, `their release was there for ${ranOn} of them`)
      await world.until(async () => !(await isRunning(live?.pid ?? 0)), 'the former release ends')
      const history = await world.history()
      const drained = history.find(({ event }) => event === 'drained')
      t.match(drained, { release: 'r42', cut: { requests: 0, tunnels: SOCKETS } })
      const tookMs = Number(drained?.took_ms)
      t.ok(tookMs > 1_500, `drained after ${tookMs} ms`)
      const flip = history.find(({ event, release }) => event === 'flipped' && release === 'r43')
      const firstMs = Math.min(...ends.map(({ atMs }) => atMs)) - Date.parse(String(flip?.time))
      t.ok(firstMs > 1_450, `the first one ${firstMs} ms after the flip`)
      t.match((await world.status()).draining, [])
      t.match(await world.get(), { release: 'r43' })
    },
  )
}
