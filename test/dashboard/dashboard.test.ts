// The journey of somebody at the dashboard, in a real browser, with real releases behind it.
import { readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { setTimeout as pause } from 'node:timers/promises'
import type { Page } from 'playwright-core'
import t from 'tap'
import { freePorts } from '../../src/slots/free-ports.ts'
import { complaintsOf, newPage, says, skip } from './browser.ts'
import { dashboardWorld, keyFileOf, loadKey } from './world.ts'

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

interface Violation {
  id: string
  impact: string
  nodes: { html: string; failureSummary: string }[]
}

/** What axe finds that is serious, or worse. */
async function barriers(page: Page): Promise<Violation[]> {
  // As a page's own script could not, since its policy forbids it.
  const client = await page.context().newCDPSession(page)
  const evaluate = async (expression: string) => {
    const { result, exceptionDetails } = await client.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })
    if (exceptionDetails) throw new Error(exceptionDetails.text)
    return result.value
  }
  if (!(await evaluate(`'axe' in globalThis`))) await evaluate(await readFile(AXE, 'utf8'))
  const { violations } = (await evaluate(`axe.run({ resultTypes: ['violations'] })`)) as {
    violations: Violation[]
  }
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
}

const slot = (page: Page, name: 'blue' | 'green') => page.locator(`[data-slot=${name}]`)
const role = (page: Page, name: 'blue' | 'green') => slot(page, name).getAttribute('data-role')
const record = (page: Page, event: string) => page.locator(`.record[data-event=${event}]`).first()
const button = (page: Page, name: string | RegExp) => page.getByRole('button', { name })

t.test('from loading the key to forgetting it', { skip }, async (t) => {
  const world = await dashboardWorld(t)
  world.service = ['schema: { interval: 100ms }', 'previous: stop']
  await world.addRelease('r41', { min: 40, max: 42 })
  await world.addRelease('r42', { min: 42, max: 43 })
  await world.addRelease('r43', { min: 43, max: 44 })
  await world.start(t)
  await world.deploy('r41')
  await world.deploy('r42')
  await world.stage('r43')

  const page = await newPage(t)
  const complaints = complaintsOf(page)
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(world.adminUrl)

  await t.test('without a key there is nothing but how to get one', async (t) => {
    await page.getByText('This page needs a key').waitFor()
    t.match(await page.locator('main').innerText(), /slotgate keys generate/)
    t.notMatch(await page.locator('body').innerText(), /invoices|r42/)
    t.notOk(asked.some((url) => url.includes('/v1/')))
    t.same(await barriers(page), [])
  })

  await t.test('with a key it shows both slots, the ruler and the history', async (t) => {
    await loadKey(page, world)
    await slot(page, 'green').getByText('r42').waitFor()
    t.same([await role(page, 'blue'), await role(page, 'green')], ['idle', 'live'])
    await says(slot(page, 'blue'), /r43.*healthy.*schema 43–44.*needs 43 or newer/)
    await says(page.locator('.service-head'), /generation 2.*schema 42/)
    await page.locator('.ruler-picture').getByText('42–43 ✓').waitFor()
    await page.locator('.ruler-picture').getByText('43–44 ✗').waitFor()
    await says(page.locator('.door'), /open.*r41 works with schema 40 to 42/)
    await says(record(page, 'flipped'), 'Deployed r42: green is live. Before it was r41.')
    await page.locator('#connection[data-state=live]').waitFor()
  })

  await t.test('the traffic is there within seconds', async (t) => {
    const done = new AbortController()
    const asking = keepAsking(world.url, done.signal)
    const number = (name: string) => slot(page, 'green').locator('.number').filter({ hasText: name })
    await says(number('req/s').locator('dd'), /[1-9]/)
    await says(number('p50').locator('dd'), /^[\d.]+ m?s$/)
    done.abort()
    await asking
    t.pass()
  })

  await t.test('a version says what a migration to it would do, by mouse and by keyboard', async (t) => {
    await page.locator('.ruler').focus()
    await page.keyboard.press('ArrowRight')
    await page.locator('.advice').getByText('No way back').waitFor()
    await says(page.locator('.advice'), 'r42 goes on working at 43')
    t.equal(await page.locator('.ruler').getAttribute('aria-valuenow'), '43')
    await page.keyboard.press('End')
    await page.locator('.advice').getByText('Breaks live').waitFor()
    await page.locator('h1').click()
    await page.locator('.ruler-picture').getByText('41', { exact: true }).hover()
    await page.locator('.advice').getByText('At 41', { exact: true }).waitFor()
    t.pass()
  })

  await t.test('a promotion that the gate refuses cannot be confirmed, and says why', async (t) => {
    await button(page, 'Promote r43…').click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('r43 must not be promoted now').waitFor()
    t.match(await dialog.innerText(), /Release r43 needs schema 43 or newer; the database is at 42\./)
    t.match(await dialog.innerText(), /migrations\/run/)
    t.ok(await dialog.getByRole('button', { name: 'Promote', exact: true }).isDisabled())
    t.same(await barriers(page), [])
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    t.equal(await role(page, 'green'), 'live')
    await world.promote()
    await record(page, 'refused').waitFor()
    t.match(
      await record(page, 'refused').innerText(),
      /The gate refused: r43 was not promoted\. Release r43 needs schema 43/,
    )
    await record(page, 'refused').getByText('Evidence').click()
    t.match(
      await record(page, 'refused').innerText(),
      /r43: works with 43–44, read schema 42: needs 43 or newer/,
    )
  })

  await t.test('a migration moves the line of the ruler', async (t) => {
    await world.migrate(43)
    await page.locator('.ruler-picture .version.now', { hasText: '43' }).waitFor()
    await says(record(page, 'schema_version_changed'), '43')
    await page.locator('.ruler-picture').getByText('43–44 ✓').waitFor()
    await page.locator('.door').getByText('Rollback door: closed').waitFor()
    t.pass()
  })

  await t.test('the promotion goes through, and the page shows the flip', async (t) => {
    await button(page, 'Promote r43…').click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('r43 may be promoted now').waitFor()
    // News are over after some seconds.
    const told = page.locator('#news').getByText('invoices: Promoted r43: blue is live').waitFor()
    await Promise.all([told, dialog.getByRole('button', { name: 'Promote', exact: true }).click()])
    await page.locator('[data-slot=blue][data-role=live]').waitFor()
    t.equal(await role(page, 'green'), 'idle')
    await says(page.locator('.operation[data-state=done]'), /Promote of r43.*asking.*flipping/)
    await says(record(page, 'flipped'), 'Promoted r43: blue is live')
    await page.waitForFunction(() => document.title.includes('invoices r43'))
  })

  await t.test('a rollback that the gate refuses cannot be confirmed', async (t) => {
    await world.migrate(44)
    await page.locator('.ruler-picture .version.now', { hasText: '44' }).waitFor()
    await button(page, /^Roll back/).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('must not be rolled back to now').waitFor()
    t.ok(await dialog.getByRole('button', { name: 'Roll back', exact: true }).isDisabled())
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    t.equal(await role(page, 'blue'), 'live')
  })

  await t.test('a release is deployed by its name, and a boot that fails says so', async (t) => {
    const lines = 3_000
    await world.addRelease('r45', { min: 44, max: 45, lines, exitOnBoot: 1 })
    const drawn = await page.locator('.operation .output').evaluateHandle((output) => {
      const changes = { count: 0 }
      new MutationObserver(() => changes.count++).observe(output, { childList: true })
      return changes
    })
    await button(page, 'Deploy…').click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Release').fill('r42')
    await dialog.getByText('r42 works with schema 42–43, which does not fit.').waitFor()
    await dialog.getByLabel('Release').fill('r45')
    t.notMatch(await dialog.innerText(), /works with schema/)
    await dialog.getByRole('button', { name: 'Deploy', exact: true }).click()
    await page.locator('.operation[data-state=failed]').waitFor()
    await says(page.locator('.operation'), /Deploy of r45.*failed/)
    await says(page.locator('.operation .output'), 'cannot find the configuration')
    t.ok((await drawn.evaluate(({ count }) => count)) < lines / 2, 'not drawn anew for each line')
    t.match(await record(page, 'boot_failed').innerText(), /^Release r45 did not start: [^.]+\.$/m)
    t.equal(await role(page, 'blue'), 'live')
    await page.getByRole('alert').getByText('Release r45 did not start').waitFor()
  })

  await t.test('a pause holds requests, is seen, and ends', async (t) => {
    await button(page, 'Pause…').click()
    await page.getByRole('dialog').getByLabel('For').selectOption('until somebody resumes')
    await page.getByRole('dialog').getByRole('button', { name: 'Pause', exact: true }).click()
    await page
      .locator('.notices')
      .getByText(/Paused by desk/)
      .waitFor()
    const held = world.get()
    await page.locator('.notices').getByText('1 request held').waitFor()
    await button(page, 'Resume…').click()
    await page.getByRole('dialog').getByRole('button', { name: 'Resume', exact: true }).click()
    t.equal((await held).status, 200)
    await page
      .locator('.notices')
      .getByText(/Paused/)
      .waitFor({ state: 'detached' })
    await says(record(page, 'resumed'), 'Resumed')
  })

  await t.test('nothing on the page is a serious barrier, light or dark, wide or narrow', async (t) => {
    // Colours depend on the scheme alone, and what stands where on the width.
    for (const [colorScheme, width] of [
      ['light', 400],
      ['dark', 3840],
    ] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await page.setViewportSize({ width, height: 800 })
      t.same(await barriers(page), [], `${colorScheme} ${width}`)
    }
  })

  await t.test('a page that is loaded again has the key still, and nobody can read it', async (t) => {
    await page.reload()
    await slot(page, 'blue').getByText('r43').waitFor()
    const kept = await page.evaluate(async () => {
      const opening = indexedDB.open('slotgate')
      await new Promise((resolve) => {
        opening.onsuccess = resolve
      })
      const reading = opening.result.transaction('keys').objectStore('keys').get('current')
      await new Promise((resolve) => {
        reading.onsuccess = resolve
      })
      // It stays open, as one of a tab that is asleep would: forgetting must not wait for that.
      const { id, cryptoKey } = reading.result
      const copied = await crypto.subtle.exportKey('pkcs8', cryptoKey).then(
        () => true,
        () => false,
      )
      return { id, extractable: cryptoKey.extractable, copied }
    })
    t.same(kept, { id: 'desk', extractable: false, copied: false })
  })

  await t.test('a key that is forgotten is gone', async (t) => {
    await button(page, 'Forget key').click()
    await page.getByText('This page needs a key').waitFor()
    t.notMatch(await page.locator('body').innerText(), /invoices|r43/)
    t.equal(await keptKeys(page), 0)
    await page.reload()
    await page.getByText('This page needs a key').waitFor()
  })

  // Chromium sends again what went over a connection that ended.
  let replays = world.logLines.filter((line) => JSON.parse(line).code === 'replayed').length
  const isMeant = (complaint: string) =>
    complaint.includes('status of 424') || (complaint.includes('status of 409') && replays-- > 0)
  const others = complaints.filter((complaint) => !isMeant(complaint))
  t.same(others, [], 'the console has nothing but refusals that are meant')
  t.same([...new Set(asked.map((url) => new URL(url).origin))], [world.adminUrl], 'nobody else was asked')
})

t.test('a key that slotgate does not know is not kept', { skip }, async (t) => {
  const world = await dashboardWorld(t)
  await world.start(t)
  const page = await newPage(t)
  await page.goto(world.adminUrl)
  await page
    .getByLabel('Private key file')
    .setInputFiles({ name: 'other.key', mimeType: '', buffer: Buffer.from('no key at all') })
  t.equal(await page.getByLabel('Key id in the config').inputValue(), 'other')
  await button(page, 'Load key').click()
  await page.getByRole('alert').getByText('neither PEM nor base64').waitFor()
  await page.getByLabel('Private key file').setInputFiles({
    name: 'other.key',
    mimeType: '',
    buffer: Buffer.from(Buffer.alloc(32, 7).toString('base64')),
  })
  await button(page, 'Load key').click()
  await page.getByRole('alert').getByText('slotgate does not take this key').waitFor()
  await page.reload()
  await page.getByText('This page needs a key').waitFor()

  await t.test('and a browser that keeps none, or does not say, still takes one', async (t) => {
    await page.addInitScript(() => {
      let isFirst = true
      IDBFactory.prototype.open = () => {
        if (!isFirst) throw new DOMException('storage is blocked')
        isFirst = false
        return new EventTarget() as IDBOpenDBRequest
      }
    })
    await page.reload()
    await page.getByRole('alert').getByText('has not said yet whether it keeps a key').waitFor()
    const told = page.locator('#news').getByText('does not keep the key: storage is blocked').waitFor()
    await Promise.all([told, loadKey(page, world)])
    t.pass()
  })
})

t.test('a clock that is wrong is told from a key that is', { skip }, async (t) => {
  const world = await dashboardWorld(t)
  await world.start(t)
  const page = await newPage(t)
  await page.goto(world.adminUrl)
  const setClock = (aheadMs: number) =>
    page.evaluate((ms) => {
      const now = performance.now.bind(performance)
      Date.now = () => performance.timeOrigin + now() + ms
    }, aheadMs)
  await setClock(-90_000)
  await page.getByLabel('Private key file').setInputFiles(keyFileOf(world))
  await button(page, 'Load key').click()
  await page
    .getByRole('alert')
    // Less by what the answer takes.
    .getByText(/clock of this browser is ([78]\d|90) s behind that of slotgate/)
    .waitFor()

  await t.test('also where it goes wrong while the page is open', async (t) => {
    await setClock(0)
    await loadKey(page, world)
    // From then on it hears of what changes.
    await page.locator('#connection[data-state=live]').waitFor()
    await setClock(90_000)
    await page.evaluate(() => {
      const now = performance.now.bind(performance)
      // The time in which it may still be that slotgate has just started is over sooner.
      performance.now = () => now() * 10
      document.dispatchEvent(new Event('visibilitychange'))
    })
    await page
      .getByRole('alert')
      .getByText(/not taken any more: .* clock of this browser is (9|10)\d s ahead/)
      .waitFor()
    t.pass()
  })
})

t.test('a key that may only read is offered nothing else', { skip }, async (t) => {
  const world = await dashboardWorld(t, 'read')
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  await world.deploy('r42')
  const page = await newPage(t)
  await page.goto(world.adminUrl)
  await loadKey(page, world)
  await slot(page, 'blue').getByText('r42').waitFor()
  t.same(await page.locator('.service button:visible').allInnerTexts(), [])
  t.match(await page.locator('#whose').innerText(), /may only read/)
})

t.test('it comes back after slotgate did, with what happened meanwhile', { skip }, async (t) => {
  const world = await dashboardWorld(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  // It is there again at the same port, which nobody may take meanwhile.
  const [adminPort] = await freePorts()
  world.adminPort = adminPort
  const close = await world.start(t)
  await world.deploy('r42')
  const page = await newPage(t)
  // As in browsers that sign, and have no `for await` for streams.
  await page.addInitScript(() => {
    Reflect.deleteProperty(ReadableStream.prototype, Symbol.asyncIterator)
  })
  await page.goto(world.adminUrl)
  await loadKey(page, world)
  const connection = (state: 'live' | 'lost') => page.locator(`#connection[data-state=${state}]`)
  await connection('live').waitFor()
  await close()
  await connection('lost').waitFor()
  // A clock that is a little late: what it signs first was signed before slotgate started.
  await page.evaluate(() => {
    const now = Date.now
    Date.now = () => now() - 2_000
  })
  const closeAgain = await world.start(t)
  await connection('live').waitFor()
  const records = (event: string) => page.locator(`.record[data-event=${event}]`)
  await records('slotgate_started').nth(1).waitFor()
  t.equal(await records('slotgate_stopped').count(), 1)

  await closeAgain()
  await rm(world.stateDir, { recursive: true })
  const closeOnceMore = await world.start(t)
  await records('flipped').waitFor({ state: 'detached' })
  await records('slotgate_started').waitFor()
  t.equal(await records('slotgate_stopped').count(), 0, 'another journal')

  await connection('live').waitFor()
  await closeOnceMore()
  world.services = [
    '  shop:',
    '    slots:',
    '      blue: { public: "http://127.0.0.1:1", internal: "http://127.0.0.1:2" }',
    '      green: { public: "http://127.0.0.1:3", internal: "http://127.0.0.1:4" }',
  ]
  await world.start(t)
  await page.getByRole('heading', { name: 'shop' }).waitFor()
})

t.test('a slotgate that hangs is told from one with nothing to say', { skip }, async (t) => {
  const world = await dashboardWorld(t)
  const { pid } = await world.spawn(t)
  const page = await newPage(t)
  await page.goto(world.adminUrl)
  await loadKey(page, world)
  await page.locator('#connection[data-state=live]').waitFor()
  const sentence = 'slotgate has not answered within 10 s.'
  const told = page.getByRole('alert').getByText(sentence)
  t.equal(await told.count(), 0)
  const another = async () => {
    const tab = await page.context().newPage()
    await tab.goto(world.adminUrl)
    await tab.locator('.service').waitFor()
    return tab
  }
  const [begun, brought] = [await another(), await another()]
  const asksForKey = brought.getByRole('heading', { name: 'This page needs a key' })
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => process.kill(pid, 'SIGCONT'))
  const begin = (hash: string) => location.assign(hash)
  await begun.evaluate(begin, '#again')
  const key = (await readFile(keyFileOf(world), 'utf8')).replace(/-----.*-----|\s/g, '')
  await brought.evaluate(begin, `#${new URLSearchParams({ id: 'desk', key })}`)
  // Instead of the services, and of the form: it has a key. That of the address may be used up.
  const instead = says(begun.locator('#main > [role=alert]'), sentence)
  await Promise.all([told.waitFor(), instead, asksForKey.waitFor()])
  process.kill(pid, 'SIGCONT')
  await told.waitFor({ state: 'detached' })
  await begun.locator('.service').waitFor()
})

t.test('a tab that nobody looks at asks nothing, and catches up', { skip }, async (t) => {
  const world = await dashboardWorld(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  const page = await newPage(t)
  await page.goto(world.adminUrl)
  await loadKey(page, world)
  await page.locator('#connection[data-state=live]').waitFor()
  const look = (visibilityState: string) =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'visibilityState', { value, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    }, visibilityState)
  const ended = page.waitForEvent('requestfailed', (request) => request.url().includes('/v1/events'))
  await look('hidden')
  await ended
  const more = button(page, 'Show earlier')
  t.equal(await more.isVisible(), false, 'all that there is, is shown')
  for (let turn = 0; turn < 30; turn++) {
    await world.pause()
    await world.resume()
  }
  await world.deploy('r42')
  t.equal(await page.locator('.record[data-event=flipped]').count(), 0)
  await look('visible')
  await record(page, 'flipped').waitFor()
  t.ok((await page.locator('#news p').count()) <= 3, 'the news are the last ones')
  await page.locator('[data-slot=blue][data-role=live]').waitFor()
  t.equal(await page.locator('.record[data-event=slotgate_started]').count(), 0, 'the page stays short')
  await more.click()
  await page.locator('.record[data-event=slotgate_started]').waitFor()
  t.equal(await more.isVisible(), false)
})

t.test('nothing is wider than a telephone, whatever releases are called', { skip }, async (t) => {
  const world = await dashboardWorld(t)
  const names = ['a'.repeat(128), 'f'.repeat(40)]
  for (const name of names) await world.addRelease(name, { min: 20261122, max: 20261175 })
  await world.migrate(20261122)
  await world.start(t)
  t.equal((await world.deploy(names[0] ?? '')).status, 200)
  await world.stage(names[1] ?? '')
  const page = await newPage(t, { viewport: { width: 400, height: 860 } })
  await page.goto(world.adminUrl)
  const width = () => page.evaluate(() => document.documentElement.scrollWidth)
  t.equal(await width(), 400)
  await loadKey(page, world)
  await page.locator('.ruler-picture .now-label').waitFor()
  t.equal(await width(), 400)
  await button(page, /^Promote/).click()
  await page.getByRole('dialog').getByText('may be promoted now').waitFor()
  t.equal(await width(), 400)
  t.same(await barriers(page), [])
})

const keptKeys = (page: Page): Promise<number> =>
  page.evaluate(async () => {
    const opening = indexedDB.open('slotgate')
    await new Promise((resolve) => {
      opening.onsuccess = resolve
    })
    const counting = opening.result.transaction('keys').objectStore('keys').count()
    await new Promise((resolve) => {
      counting.onsuccess = resolve
    })
    return counting.result
  })

async function keepAsking(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await fetch(url).then((answer) => answer.text())
    await pause(20)
  }
}
