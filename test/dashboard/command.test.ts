// `slotgate dashboard`: the address that it makes opens the page once, for whoever has it first.
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { run } from '../cli/terminal.ts'
import { newPage, skip } from './browser.ts'
import { dashboardWorld, keyFileOf } from './world.ts'

interface Address {
  url: string
  key: { id: string; allow: string[]; until: string }
}

const world = await dashboardWorld(t)
await world.addRelease('r42', { min: 41, max: 43 })
await world.start(t)
await world.deploy('r42')
const argv = ['dashboard', '--admin', world.adminUrl, '--key', keyFileOf(world)]

async function newAddress(): Promise<Address> {
  const { code, stdout, stderr } = await run([...argv, '--json'])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

/** @returns a folder for the PATH with what opens a file for the user, doing this */
async function folderWithOpener(script: string): Promise<string> {
  const folder = await mkdtemp(join(world.folder, 'bin-'))
  const opener = join(folder, process.platform === 'darwin' ? 'open' : 'xdg-open')
  await writeFile(opener, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return folder
}

// Whoever opens a browser waits for it to read the file: most of the time nothing is done.
t.jobs = 3

t.test('the address opens the page with a key that may only read', { skip, buffered: true }, async (t) => {
  const { url, key } = await newAddress()
  t.match(key, { id: /^desk~/, allow: ['read'] })
  const page = await newPage(t)
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(url)
  await page.locator('[data-slot=blue]').getByText('r42').waitFor()
  await page.waitForURL(`${world.adminUrl}/`)
  t.match(await page.locator('#whose').innerText(), /^desk\s+may only read, until/)
  t.same(await page.locator('.service button:visible').allInnerTexts(), [])
  const secret = new URLSearchParams(new URL(url).hash.slice(1)).get('key') ?? ''
  t.notOk(asked.some((address) => address.includes(secret)))
  t.notOk(world.logLines.some((line) => line.includes(secret)))

  const second = await newPage(t)
  await second.goto(url)
  await second.getByText('The key in the address has been used, or its time is over.').waitFor()
  const { url: another } = await newAddress()
  await second.evaluate((address) => {
    location.href = address
  }, another)
  // Pasted where the page is open, it opens it as well.
  await second.locator('[data-slot=blue]').getByText('r42').waitFor()
  await second.waitForURL(`${world.adminUrl}/`)
  await page.reload()
  await page.locator('[data-slot=blue]').getByText('r42').waitFor()
})

t.test('a browser is led there by a file that nobody else may read', { skip, buffered: true }, async (t) => {
  const opened = join(world.folder, 'opened.html')
  const bin = await folderWithOpener(`ls -ld "$1" "$(dirname "$1")" > ${opened}.modes\ncp "$1" ${opened}`)
  const env = { DISPLAY: ':1', PATH: [bin, process.env.PATH].join(delimiter) }

  const { code, stdout, stderr } = await run(argv, { env })
  t.equal(code, 0, stderr)
  t.match(stdout, `\n  ${world.adminUrl}/#id=desk`)
  t.match(await readFile(`${opened}.modes`, 'utf8'), /^drwx------[^\n]+\n-rw-------/)
  const page = await newPage(t)
  await page.goto(pathToFileURL(opened).href)
  await page.locator('[data-slot=blue]').getByText('r42').waitFor()
  await page.waitForURL(`${world.adminUrl}/`)
})

t.test('what cannot be opened is printed', { buffered: true }, async (t) => {
  const bin = await folderWithOpener('exit 3')
  for (const env of [
    { DISPLAY: ':1', PATH: bin },
    { WAYLAND_DISPLAY: 'wayland-0', PATH: world.folder },
    {},
  ]) {
    const { stdout } = await run(argv, { env })
    t.match(stdout, new RegExp(`^This address opens the dashboard once.*\n  ${world.adminUrl}/#id=desk`))
  }
})
