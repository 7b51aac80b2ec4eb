// SIGHUP: what may change while slotgate runs is taken over, the rest is said, and a broken file changes nothing.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { World } from '../support/world.ts'

/** @returns the first line of the log with this, once it is there */
const logged = (world: World, text: string) =>
  world.until(async () => world.logLines.find((line) => line.includes(text)), `“${text}” in the log`)

t.test('a changed config is taken over as far as it can be, and what cannot is said', async (t) => {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 41, max: 43 })
  const served = await world.spawn(t)
  await world.deploy('r42')
  world.service = ['previous: stop', 'path_prefix: /elsewhere']
  await world.writeConfig()
  served.kill('SIGHUP')
  const line = await logged(world, 'the config was read again')
  t.match(line, /path_prefix changed; that takes a restart/)
  t.match(await world.get(), { status: 200 }, 'the prefix is the old one')
  await world.deploy('r43')
  await world.until(
    async () => (await world.status()).idle.state === 'stopped',
    '`previous: stop` is in force',
  )
})

t.test('error pages are read again, whether or not the config names them as before', async (t) => {
  const world = await World.create(t)
  world.service = ['error_pages: { 503: busy.html }']
  const page = join(world.folder, 'busy.html')
  await writeFile(page, 'busy')
  const served = await world.spawn(t)
  const busy = async () => {
    const { body } = await request(world.url, { headers: { accept: 'text/html' }, reset: true })
    return body.text()
  }
  t.equal(await busy(), 'busy')
  await writeFile(page, 'busy until noon')
  t.equal(await busy(), 'busy', 'a file alone changes nothing')
  served.kill('SIGHUP')
  await world.until(async () => (await busy()) === 'busy until noon', 'the page is the new one')
  const line = await logged(world, 'the config was read again')
  t.match(line, '"changed":["services.invoices.error_pages"]')
  await writeFile(page, 'x'.repeat(70_000))
  served.kill('SIGHUP')
  await logged(world, 'the config was not taken over')
  t.equal(await busy(), 'busy until noon')
})

t.test('a broken config is refused with its problems, and the running one stays', async (t) => {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  const served = await world.spawn(t)
  await world.deploy('r42')
  await writeFile(join(world.folder, 'proxy.config.yaml'), 'listen: nowhere\nservces: {}\n')
  served.kill('SIGHUP')
  const line = await logged(world, 'the config was not taken over')
  t.match(line, /servces/, 'the problem is named')
  t.match(await world.get(), { status: 200, release: 'r42' })
  t.match(await world.status(), { generation: 1 })
})
