// `slotgate dashboard`: the address that it makes opens the page once, for whoever has it first.
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { run } from '../cli/terminal.ts'
import type { World } from '../support/world.ts'
import { openBrowser, skip } from './browser.ts'
import { dashboardWorld, keyFileOf } from './world.ts'

interface Address {
  url: string
  key: { id: string; allow: string[]; until: string }
}

const argvOf = (world: World) => ['dashboard', '--admin', world.adminUrl, '--key', keyFileOf(world)]

async function addressOf(world: World): Promise<Address> {
  const { code, stdout, stderr } = await run([...argvOf(world), '--json'])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

// Whoever opens a browser waits for it to read the file: most of the time nothing is done.
t.jobs = 3

t.test('the address opens the page with a key that may only read', { skip, buffered: true }, async (t) => {
  const world = await dashboardWorld(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  await world.deploy('r42')
  const { url, key } = await addressOf(world)
  t.match(key, { id: /^desk~/, allow: ['read'] })
  const browser = await openBrowser(t)
  const page = await browser.newPage()
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(url)
  await page.locator('[data-slot=blue]').getByText('r42').waitFor()
  t.equal(page.url(), `${world.adminUrl}/`)
  t.match(await page.locator('#whose').innerText(), /^desk\s+may only read, until/)
  t.same(await page.locator('.service button:visible').allInnerTexts(), [])
  const secret = new URLSearchParams(new URL(url).hash.slice(1)).get('key') ?? ''
  t.notOk(asked.some((address) => address.includes(secret)))
  t.notOk(world.logLines.some((line) => line.includes(secret)))

  const second = await (await browser.newContext()).newPage()
  await second.goto(url)
  await second.getByText('The key in the address has been used, or its time is over.').waitFor()
  const { url: another } = await addressOf(world)
  await second.evaluate((address) => {
    location.href = address
  }, another)
  await second.locator('[data-slot=blue]').getByText('r42').waitFor()
  t.equal(second.url(), `${world.adminUrl}/`, 'pasted where the page is open, it opens it as well')
  await page.reload()
  await page.locator('[data-slot=blue]').getByText('r42').waitFor()
})

t.test('a browser is led there by a file that nobody else may read', { skip, buffered: true }, async (t) => {
  const world = await dashboardWorld(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  await world.deploy('r42')
  const bin = join(world.folder, 'bin')
  const opener = join(bin, process.platform === 'darwin' ? 'open' : 'xdg-open')
  const opened = join(world.folder, 'opened.html')
  await mkdir(bin)
  await writeFile(opener, `#!/bin/sh\nls -ld "$1" "$(dirname "$1")" > ${opened}.modes\ncp "$1" ${opened}\n`)
  await chmod(opener, 0o755)
  const env = { DISPLAY: ':1', PATH: [bin, process.env.PATH].join(delimiter) }

  const { code, stdout, stderr } = await run(argvOf(world), { env })
  t.equal(code, 0, stderr)
  t.match(stdout, `\n  ${world.adminUrl}/#id=desk`)
  t.match(await readFile(`${opened}.modes`, 'utf8'), /^drwx------[^\n]+\n-rw-------/)
  const page = await (await openBrowser(t)).newPage()
  await page.goto(pathToFileURL(opened).href)
  await page.locator('[data-slot=blue]').getByText('r42').waitFor()
  t.equal(page.url(), `${world.adminUrl}/`)
})

t.test('what cannot be opened is printed', { buffered: true }, async (t) => {
  const world = await dashboardWorld(t)
  await world.start(t)
  const bin = join(world.folder, 'bin')
  const opener = join(bin, process.platform === 'darwin' ? 'open' : 'xdg-open')
  await mkdir(bin)
  await writeFile(opener, '#!/bin/sh\nexit 3\n')
  await chmod(opener, 0o755)
  for (const env of [
    { DISPLAY: ':1', PATH: bin },
    { WAYLAND_DISPLAY: 'wayland-0', PATH: world.folder },
    {},
  ]) {
    const { stdout } = await run(argvOf(world), { env })
    t.match(stdout, new RegExp(`^This address opens the dashboard once.*\n  ${world.adminUrl}/#id=desk`))
  }
})
