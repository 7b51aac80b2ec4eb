// A hostile page in the browser of somebody who has the dashboard open: it reaches nothing, and reads nothing.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { newContext, newPage, skip } from './browser.ts'
import { dashboardWorld, loadKey } from './world.ts'

/** A site of somebody else, on this machine as well, where each page is empty. */
async function openSite(t: Test): Promise<number> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>free prizes</title>')
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** What can be handed over to a page. */
interface Init {
  method?: string
  body?: string
  headers?: Record<string, string>
  mode?: 'no-cors'
}

const world = await dashboardWorld(t)
await world.addRelease('r42', { min: 41, max: 43 })
await world.start(t)
await world.deploy('r42')

/** The codes of what the door has turned away since the log was this long; the browser asks for icons when it likes. */
const refusals = (from: number): string[] =>
  world.logLines.slice(from).flatMap((line) => {
    const { audit, code, target } = JSON.parse(line)
    return audit && code && target !== '/favicon.ico' ? [code] : []
  })

t.test('a page of another origin', { skip }, async (t) => {
  const admin = world.adminUrl
  const context = await newContext(t)
  const dashboard = await context.newPage()
  await dashboard.goto(admin)
  await loadKey(dashboard, world)
  const page = await context.newPage()
  const site = `http://127.0.0.1:${await openSite(t)}`
  await page.goto(site)

  /** Does it on the page; what the door said to it. */
  async function attempt(work: () => Promise<unknown>): Promise<string[]> {
    const from = world.logLines.length
    await work()
    return world.until(async () => {
      const codes = refusals(from)
      return codes.length > 0 && codes
    }, 'the door turns it away')
  }

  await t.test('cannot call, with or without a preflight', async (t) => {
    const call = (url: string, init: Init) =>
      page.evaluate(
        ([url, init]) =>
          fetch(url, init).then(
            ({ type }) => type,
            () => 'failed',
          ),
        [url, init] as const,
      )
    const json = { 'content-type': 'application/json', signature: 'slotgate=:AA==:' }
    const cases: [Init, string][] = [
      [{}, 'failed'],
      [{ method: 'POST', body: '{}', headers: json }, 'failed'],
      [{ method: 'POST', body: '{}' }, 'failed'],
      [{ method: 'POST', body: '{}', mode: 'no-cors' }, 'opaque'],
      [{ mode: 'no-cors' }, 'opaque'],
    ]
    for (const [init, expected] of cases) {
      for (const path of ['/v1/services/invoices/promote', '/']) {
        const codes = await attempt(async () =>
          t.equal(await call(admin + path, init), expected, JSON.stringify(init)),
        )
        t.same(codes, ['origin_refused'], `${path} ${JSON.stringify(init)}`)
      }
    }
  })

  await t.test('cannot send a form', async (t) => {
    const codes = await attempt(() =>
      page.evaluate((action) => {
        const form = document.createElement('form')
        Object.assign(form, { action, method: 'post', enctype: 'text/plain' })
        document.body.append(form)
        form.submit()
      }, `${admin}/v1/services/invoices/rollback`),
    )
    t.same(codes, ['origin_refused'])
    await page.waitForURL(`${admin}/**`)
    await page.goto(site)
  })

  await t.test('cannot show the dashboard within itself', async (t) => {
    const codes = await attempt(() =>
      page.evaluate((src) => {
        const frame = document.createElement('iframe')
        frame.src = src
        document.body.append(frame)
      }, `${admin}/`),
    )
    t.same(codes, ['origin_refused'])
    await page.frameLocator('iframe').getByText('origin_refused').waitFor()
  })

  await t.test('cannot take its parts for its own', async (t) => {
    for (const [tag, attribute] of [
      ['script', 'src'],
      ['img', 'src'],
    ] as const) {
      const codes = await attempt(() =>
        page.evaluate(
          ([tag, attribute, address]) => {
            const element = document.createElement(tag)
            element.setAttribute(attribute, address)
            document.body.append(element)
          },
          [tag, attribute, `${admin}/dashboard/app.js`] as const,
        ),
      )
      t.same(codes, ['origin_refused'], tag)
    }
  })

  await t.test('cannot come by another name of this machine (DNS rebinding)', async (t) => {
    const { port } = world.doors.admin
    const rebound = await context.newPage()
    const codes = await attempt(async () => {
      const answer = await rebound.goto(`http://evil.example:${port}/`)
      t.equal(answer?.status(), 421)
    })
    t.ok(
      codes.every((code) => code === 'host_not_allowed'),
      codes.join(),
    )
  })

  await t.test('cannot hold on to a window that it opens', async (t) => {
    const opening = context.waitForEvent('page')
    await page.evaluate((url) => {
      window.open(url)
    }, `${admin}/#id=ops~x&key=AAAA`)
    const opened = await opening
    await opened.getByText('This page needs a key').waitFor()
    t.equal(await opened.evaluate(() => window.opener), null)
    t.equal(new URL(opened.url()).hash, '')
    await opened.reload()
    await opened.locator('.service').waitFor()
    t.pass('and the key that was there is there')
    await opened.getByRole('button', { name: 'Forget key' }).click()
    await dashboard.getByText('The key was forgotten in another tab.').waitFor()
  })

  const history = await world.history()
  t.notOk(
    history.some(({ actor, event }) => actor === 'desk' && event !== 'asked'),
    'nothing was done',
  )
})

t.test('the page obeys nothing that is written into it', { skip }, async (t) => {
  const sentence = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
  await world.addRelease('r43', { min: 43, max: 43, status: { pending_migrations: [sentence] } })
  await world.stage('r43')
  const page = await newPage(t)
  await page.goto(world.adminUrl)
  await loadKey(page, world)
  await page.getByRole('button', { name: 'Promote r43…' }).click()
  await page.getByRole('dialog').getByText(sentence).first().waitFor()
  t.equal(await page.locator('main img, main script').count(), 0)
  t.match(await page.title(), /slotgate/)
  const headers = (await page.reload())?.headers() ?? {}
  t.equal(
    headers['content-security-policy'],
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  )
  t.match(headers, {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  })
  const isRun = await page.evaluate(() => {
    const script = document.createElement('script')
    script.textContent = 'document.body.dataset.run = "yes"'
    document.body.append(script)
    return document.body.dataset.run === 'yes'
  })
  t.equal(isRun, false, 'a script in the page itself does not run')
})

t.test('the front door has no dashboard', async (t) => {
  for (const path of ['/', '/dashboard/app.js']) t.equal((await world.get(path)).release, 'r42', path)
})
