// `slotgate dev --overlay`: what goes behind the end of a page is part of the page, whatever the app says of its body; and in
// a browser it shows what the terminal says.
import t from 'tap'
import { newPage, skip } from '../dashboard/browser.ts'
import { Dev, HEALTH, listeningOn, SHOP } from '../support/dev.ts'

const SCRIPT = /<script type="application\/json" id="slotgate-dev">.*<\/script><script>.*<\/script>\n$/s

/** An app that answers each path in another way, with a policy that lets only its own files run. */
const app = (title: string, first = ''): string => `${first}
import { createServer } from 'node:http'
import { gzipSync } from 'node:zlib'
const page = '<!doctype html><title>${title}</title><h1>${title}</h1>'
const HTML = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "default-src 'self'", etag: '"a"' }
const answers = {
  '/': (response) => response.writeHead(200, { ...HTML, 'content-length': page.length }).end(page),
  '/chunked': (response) => { response.writeHead(200, HTML); response.write(page); setImmediate(() => response.end()) },
  '/streamed': (response) => { response.writeHead(200, HTML); response.write(page); setTimeout(() => response.end('<p>late'), 50) },
  '/until-close': (response) => { response.shouldKeepAlive = false; response.useChunkedEncodingByDefault = false; response.writeHead(200, HTML).end(page) },
  '/empty': (response) => response.writeHead(200, { ...HTML, 'content-length': 0 }).end(),
  '/gzip': (response) => response.writeHead(200, { ...HTML, 'content-encoding': 'gzip' }).end(gzipSync(page)),
  '/utf-16': (response) => response.writeHead(200, { ...HTML, 'content-type': 'text/html; charset=utf-16le' }).end(Buffer.from(page, 'utf16le')),
  '/favicon.ico': (response) => response.writeHead(204).end(),
  '/json': (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
  '/asked': (response, { headers }) => response.writeHead(200, { 'content-type': 'text/html' }).end(JSON.stringify(headers)),
  '/no-transform': (response) => response.writeHead(200, { ...HTML, 'cache-control': 'no-transform' }).end(page),
}
const nothing = (response) => response.writeHead(404, HTML).end('nothing')
createServer((request, response) => void (answers[request.url] ?? nothing)(response, request)).listen(process.env.PORT, process.env.HOST)
process.on('SIGTERM', () => process.exit())
${HEALTH}`

const files = { ...SHOP, 'server.js': app('one') }
const args = (port: number): string[] => ['--overlay', ...listeningOn(port)]
const PAGE = { accept: 'text/html' }
const BODY = '<!doctype html><title>one</title><h1>one</h1>'

t.test('the overlay', async (t) => {
  const dev = await Dev.start(t, { files, args })
  await dev.shows(/dev-1 is live/)
  await dev.shows(/watching/)

  await t.test('on the wire', async (t) => {
    for (const path of ['/', '/chunked', '/streamed', '/until-close', '/empty', '/nowhere']) {
      await t.test(`${path} ends with it`, async (t) => {
        const { headers, text } = await dev.get(path, PAGE)
        t.match(text, SCRIPT)
        const own = { '/streamed': `${BODY}<p>late`, '/empty': '', '/nowhere': 'nothing' }[path] ?? BODY
        t.equal(text.slice(0, text.lastIndexOf('\n<script type=')), own)
        if (headers['content-length'] !== undefined)
          t.equal(Number(headers['content-length']), Buffer.byteLength(text))
        t.equal(headers.etag, undefined, 'a tag of another body')
        t.match(
          headers['content-security-policy'],
          /^default-src 'self'; script-src-elem 'self' 'sha256-[\w+/]+=*'$/,
        )
        t.equal(headers['slotgate-dev'], 'live="dev-1"')
      })
    }

    await t.test('HEAD tells the length that GET has, and has no body', async (t) => {
      const whole = await dev.get('/', PAGE)
      const { headers, text } = await dev.get('/', PAGE, 'HEAD')
      t.equal(text, '')
      t.equal(headers['content-length'], whole.headers['content-length'])
    })

    await t.test('the app is asked for a whole page in no other coding', async (t) => {
      const narrow = { 'accept-encoding': 'gzip', 'if-none-match': '"a"', range: 'bytes=0-3' }
      const { text } = await dev.get('/asked', { ...PAGE, ...narrow })
      const asked = JSON.parse(text.slice(0, text.indexOf('\n<script')))
      t.match(asked, { 'accept-encoding': 'identity' })
      for (const name of ['if-none-match', 'range']) t.notOk(name in asked, name)
    })

    for (const path of ['/gzip', '/utf-16', '/json', '/no-transform']) {
      await t.test(`${path} stays as it is`, async (t) => {
        const { headers, text } = await dev.get(path, PAGE)
        t.notMatch(text, 'slotgate-dev')
        t.equal(headers['slotgate-dev'], 'live="dev-1"', 'but for the field')
      })
    }

    await t.test('what a script fetches stays as it is', async (t) => {
      const { headers, text } = await dev.get('/', { ...PAGE, 'sec-fetch-dest': 'empty' })
      t.match({ text, etag: headers.etag }, { text: BODY, etag: '"a"' })
      t.notOk('slotgate-dev' in headers)
    })

    await t.test('its script can ask how things stand', async (t) => {
      const { headers, text } = await dev.get('/.slotgate/dev?service=shop')
      t.equal(headers['content-type'], 'application/json')
      t.strictSame(JSON.parse(text), { service: 'shop', live: 'dev-1', refused: null, pending: [] })
      t.equal((await dev.get('/.slotgate/dev?service=another')).text, 'null')
      t.equal((await dev.get('/.slotgate/developers')).status, 404, 'and no other path is taken from the app')
    })
  })

  await t.test('in a browser', { skip }, async (t) => {
    const page = await newPage(t)
    const complaints: string[] = []
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    await page.goto(dev.url)
    const panel = page.locator('section')
    t.equal(await panel.count(), 0, 'nothing is shown while nothing is wrong')

    await dev.save('server.js', app('two', `throw new Error('<b>no printer</b>')`))
    await panel.waitFor()
    const shown = await panel.innerText()
    t.match(shown, 'Release dev-2 did not start')
    t.match(shown, '<b>no printer</b>', 'what the app wrote is text')
    t.equal(await page.title(), 'one', 'the old code serves')

    await page.getByRole('button', { name: 'Hide' }).click()
    t.equal(await panel.count(), 0)
    await page.reload()
    await panel.waitFor()

    await dev.save('server.js', app('two'))
    await panel.waitFor({ state: 'detached' })
    await page.reload()
    t.equal(await page.title(), 'two')
    t.strictSame(complaints, [], 'the policy of the page is kept')
  })
})
