// SIGHUP: what may change while slotgate runs is taken over, the rest is said, and a broken file changes nothing.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { World } from '../support/world.ts'

t.test('a reload takes over what it can, says what it cannot, and leaves alone what is broken', async (t) => {
  const world = await World.create(t)
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  const page = join(world.folder, 'busy.html')
  await writeFile(page, 'busy')
  world.service = ['error_pages: { 503: busy.html }']
  const served = await world.spawn(t)
  /** Reads the config again. @returns the line of the log with this, once it is there */
  const reload = (text: string): Promise<string> => {
    world.logLines.length = 0
    served.kill('SIGHUP')
    return world.until(async () => world.logLines.find((line) => line.includes(text)), `“${text}” in the log`)
  }
  const takenOver = 'the config was read again'
  const refused = 'the config was not taken over'

  await t.test('error pages are read again, whether or not the config names them as before', async (t) => {
    const busy = async () => {
      const { body } = await request(world.url, { headers: { accept: 'text/html' }, reset: true })
      return body.text()
    }
    t.equal(await busy(), 'busy')
    await writeFile(page, 'busy until noon')
    t.equal(await busy(), 'busy', 'a file alone changes nothing')
    t.match(await reload(takenOver), '"changed":["services.invoices.error_pages"]')
    await world.until(async () => (await busy()) === 'busy until noon', 'the page is the new one')
    await writeFile(page, 'x'.repeat(70_000))
    await reload(refused)
    t.equal(await busy(), 'busy until noon')
    await writeFile(page, 'busy')
  })

  await t.test('a broken config is refused with its problems, and the running one stays', async (t) => {
    await world.deploy('r42')
    await writeFile(join(world.folder, 'proxy.config.yaml'), 'listen: nowhere\nservces: {}\n')
    t.match(await reload(refused), /servces/, 'the problem is named')
    t.match(await world.get(), { status: 200, release: 'r42' })
    t.match(await world.status(), { generation: 1 })
  })

  await t.test('a changed config is taken over as far as it can be, and what cannot is said', async (t) => {
    await world.deploy('r42')
    world.service = ['previous: stop', 'path_prefix: /elsewhere']
    await world.writeConfig()
    t.match(await reload(takenOver), /path_prefix changed; that takes a restart/)
    t.match(await world.get(), { status: 200 }, 'the prefix is the old one')
    await world.deploy('r43')
    await world.until(
      async () => (await world.status()).idle.state === 'stopped',
      '`previous: stop` is in force',
    )
  })
})
