// Takes the pictures of docs/dashboard/: `sh scripts/run test/dashboard/pictures.ts`. With a folder as argument it takes all of
// them into that: each state of the dashboard, light and dark, as wide as a telephone, a desk and a wall.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { openBrowser } from './browser.ts'
import { dashboardWorld, loadKey } from './world.ts'

const DOCS = join(import.meta.dirname, '..', '..', 'docs', 'dashboard')
const IN_DOCS = [
  'no-key-light',
  'live-light',
  'live-dark',
  'live-narrow',
  'advice-light',
  'refused-light',
  'refused-narrow-dark',
  'failed-dark',
  'paused-light',
]
const KINDS = [
  { kind: 'light', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { kind: 'dark', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { kind: 'narrow', colorScheme: 'light', viewport: { width: 400, height: 860 } },
  { kind: 'narrow-dark', colorScheme: 'dark', viewport: { width: 400, height: 860 } },
  { kind: 'wall', colorScheme: 'dark', viewport: { width: 3840, height: 2160 } },
] as const

const [folder = DOCS] = process.argv.slice(2)
const ends: (() => unknown)[] = []
const scope = { teardown: (end: () => unknown) => void ends.push(end) }

await mkdir(folder, { recursive: true })
try {
  await takeAll()
} finally {
  for (const end of ends.reverse()) await end()
}

async function takeAll(): Promise<void> {
  const browser = await openBrowser(scope)
  const world = await dashboardWorld(scope)
  const pending = ['043_add_invoice_notes.sql']
  await world.addRelease('r41', { min: 40, max: 42, status: { pending_migrations: [] } })
  await world.addRelease('r42', { min: 41, max: 43, status: { pending_migrations: [] } })
  await world.addRelease('r43', { min: 43, max: 44, status: { pending_migrations: pending } })
  await world.addRelease('r44', { min: 43, max: 44, exitOnBoot: 1 })
  await world.start(scope)
  await each(browser, world.adminUrl, async (_page, take) => take('no-key'))
  await world.deploy('r41')
  await world.deploy('r42')
  await world.stage('r43')
  await world.promote()
  const traffic = new AbortController()
  const requests = keepAsking(world.url, traffic.signal)
  await each(browser, world.adminUrl, async (page, take) => {
    await loadKey(page, world)
    // A line of the traffic, not a dot.
    await page.waitForTimeout(8_000)
    await take('live')
    await page.locator('.ruler').focus()
    await page.keyboard.press('ArrowRight')
    await page.locator('.advice-head').waitFor()
    await page.locator('.schema').scrollIntoViewIfNeeded()
    await take('advice')
    await page.getByRole('button', { name: /^Promote r43/ }).click()
    await page.locator('dialog .answer').waitFor()
    await take('refused')
    await page.keyboard.press('Escape')
    await world.deploy('r44')
    await page.locator('.operation[data-state=failed]').waitFor()
    await page.locator('.operation').scrollIntoViewIfNeeded()
    await take('failed')
    await page.getByRole('button', { name: 'Close' }).click()
    await world.stage('r43')
    await world.pause()
    await page
      .locator('.notices')
      .getByText(/Paused by/)
      .waitFor()
    await page.evaluate(() => scrollTo(0, 0))
    await take('paused')
    await world.resume()
  })
  traffic.abort()
  await requests
}

type Take = (state: string) => Promise<unknown>

async function each(
  browser: Browser,
  url: string,
  work: (page: Page, take: Take) => Promise<unknown>,
): Promise<void> {
  for (const { kind, ...look } of KINDS) {
    if (folder === DOCS && !IN_DOCS.some((name) => name.endsWith(`-${kind}`))) continue
    const context = await browser.newContext({ ...look, reducedMotion: 'reduce' })
    const page = await context.newPage()
    await page.goto(url)
    await work(page, async (state) => {
      const name = `${state}-${kind}`
      if (folder !== DOCS || IN_DOCS.includes(name))
        await page.screenshot({ path: join(folder, `${name}.png`) })
    })
    await context.close()
  }
}

async function keepAsking(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const answers = Array.from({ length: 4 }, () => fetch(url).then((answer) => answer.text()))
    await Promise.allSettled(answers)
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 60))
  }
}
