// A real browser for the tests of what is seen in one: Debian's Chromium.
import { existsSync } from 'node:fs'
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
  type Request,
} from 'playwright-core'
import tap, { type Test } from 'tap'

/** The one without anything around its pages takes a third of the other's time. */
const DEBIANS = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium']
const EXECUTABLE = process.env.CHROMIUM ?? DEBIANS.find((path) => existsSync(path)) ?? ''

/** As tap wants it: false, or why the tests are skipped. */
export const skip = existsSync(EXECUTABLE)
  ? false
  : `needs Chromium (apt-get install chromium-headless-shell), and ${EXECUTABLE || DEBIANS.join(' or ')} is not there`

/** Root has no sandbox of its own in a container. */
const ARGS = ['--no-sandbox', '--disable-dev-shm-usage', '--host-resolver-rules=MAP *.example 127.0.0.1']

export async function openBrowser(t: Pick<Test, 'teardown'>): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGS })
  t.teardown(() => browser.close())
  return browser
}

/** That of all tests of a file. */
let shared: Promise<Browser> | undefined

/** A context of its own for a test, in the browser that the tests of its file share. */
export async function newContext(
  t: Pick<Test, 'teardown'>,
  options: BrowserContextOptions = {},
): Promise<BrowserContext> {
  shared ??= openBrowser(tap)
  const context = await (await shared).newContext({ reducedMotion: 'reduce', ...options })
  // Of a wait that is in vain; how long something takes is not what these tests are about.
  context.setDefaultTimeout(90_000)
  context.on('requestfailed', loadAgain)
  t.teardown(() => context.close())
  return context
}

/** What Chromium says of a request that it drops because the machine has got or lost a network, as with each container. */
const DROPPED = 'net::ERR_NETWORK_CHANGED'

/** A page of which a part is dropped stays empty, and whoever sees that loads it again. */
function loadAgain(request: Request): void {
  if (request.failure()?.errorText !== DROPPED || request.resourceType() !== 'script') return
  // It may be loaded again already, or closed.
  void request
    .frame()
    .page()
    .reload()
    .catch(() => {})
}

/** A page in a context of its own. */
export const newPage = async (t: Pick<Test, 'teardown'>, options?: BrowserContextOptions): Promise<Page> =>
  (await newContext(t, options)).newPage()

/** Resolves when this is shown there: what is on the page comes in its own time, and not all of it at once. */
export const says = (where: Locator, words: string | RegExp): Promise<void> =>
  where.filter({ hasText: words }).first().waitFor()

/** @returns what the page complains about, as it comes */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = []
  page.on('console', (message) => {
    const isComplaint = message.type() === 'error' || message.type() === 'warning'
    if (isComplaint && !message.text().includes(DROPPED)) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  return complaints
}
