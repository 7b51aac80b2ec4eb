// Takes the pictures of docs/dashboard/: `sh scripts/run test/dashboard/pictures.ts`. The dashboard in its main states, light
// and dark, as wide as a telephone and as wide as a desk.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { openBrowser } from './browser.ts'
import { dashboardWorld, loadKey } from './world.ts'

const FOLDER = join(import.meta.dirname, '..', '..', 'docs', 'dashboard')
const KINDS = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { name: 'narrow', colorScheme: 'light', viewport: { width: 400, height: 860 } },
  { name: 'narrow-dark', colorScheme: 'dark', viewport: { width: 400, height: 860 } },
  { name: 'wall', colorScheme: 'dark', viewport: { width: 3840, height: 2160 } },
] as const

const ends: (() => unknown)[] = []
const scope = { teardown: (end: () => unknown) => void ends.push(end) }

await mkdir(FOLDER, { recursive: true })
try {
  const browser = await openBrowser(scope)
  const world = await dashboardWorld(scope)
  await world.addRelease('r41', { min: 40, max: 42 })
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', {
    min: 43,
    max: 44,
    status: { pending_migrations: ['043_add_invoice_notes.sql'] },
  })
  await world.start(scope)
  await each(browser, world.adminUrl, async (page, name) => picture(page, `no-key-${name}`))
  await world.deploy('r41')
  await world.deploy('r42')
  await world.stage('r43')
  await world.promote()
  const traffic = new AbortController()
  const requests = keepAsking(world.url, traffic.signal)
  await each(browser, world.adminUrl, async (page, name) => {
    await loadKey(page, world)
    await page.waitForTimeout(6_000)
    await picture(page, `live-${name}`)
    await page.locator('.ruler').focus()
    await page.keyboard.press('ArrowRight')
    await page.locator('.advice-head').waitFor()
    await page.locator('.schema').scrollIntoViewIfNeeded()
    await picture(page, `advice-${name}`)
    await page.getByRole('button', { name: /^Promote r43/ }).click()
    await page.locator('dialog .answer').waitFor()
    await picture(page, `refused-${name}`)
    await page.keyboard.press('Escape')
  })
  traffic.abort()
  await requests
} finally {
  for (const end of ends.reverse()) await end()
}

async function each(
  browser: Browser,
  url: string,
  work: (page: Page, name: string) => Promise<void>,
): Promise<void> {
  const only = process.argv.slice(2)
  for (const { name, ...look } of KINDS) {
    if (only.length > 0 && !only.includes(name)) continue
    const context = await browser.newContext({ ...look, reducedMotion: 'reduce' })
    const page = await context.newPage()
    await page.goto(url)
    await work(page, name)
    await context.close()
  }
}

async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(FOLDER, `${name}.png`) })
}

async function keepAsking(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await Promise.all(
      Array.from({ length: 8 }, () =>
        fetch(url).then(
          (answer) => answer.text(),
          () => {},
        ),
      ),
    )
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 60))
  }
}
