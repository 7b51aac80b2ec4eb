// The files of the dashboard, as anybody gets them: these and no others, read only, and with their policy.
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { forge, knock, openDoor } from './door.ts'

const FOLDER = new URL('../../dashboard/', import.meta.url)
const files = readdirSync(FOLDER)
const pathOf = (name: string): string => (name === 'index.html' ? '/' : `/dashboard/${name}`)

t.test('each file is there without a signature, and says what it is', async (t) => {
  const door = await openDoor(t)
  t.ok(files.includes('index.html') && files.includes('app.js') && files.includes('style.css'))
  for (const name of files) {
    const answer = await fetch(door.url + pathOf(name))
    t.equal(answer.status, 200, name)
    t.equal(await answer.text(), readFileSync(new URL(name, FOLDER), 'utf8'), name)
    t.match(answer.headers.get('content-type'), /^text\/(html|css|javascript); charset=utf-8$/, name)
    t.match(
      answer.headers.get('content-security-policy'),
      /^default-src 'none';.* frame-ancestors 'none'$/,
      name,
    )
    t.match(Object.fromEntries(answer.headers), {
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    })
    const head = await fetch(door.url + pathOf(name), { method: 'HEAD' })
    t.same([head.status, await head.text()], [200, ''], name)
  }
})

t.test('there are no other files, and nothing can be sent to these', async (t) => {
  const door = await openDoor(t)
  const fields: [string, string][] = [['Host', door.authority]]
  const targets = [
    '/index.html',
    '/dashboard',
    '/dashboard/',
    '/dashboard/index.html',
    '/dashboard/none.js',
    '/dashboard/../package.json',
    '/dashboard/%2e%2e/package.json',
    '/dashboard/..%2fpackage.json',
    '/dashboard//app.js',
  ]
  for (const target of targets) {
    t.equal((await knock(door.port, { method: 'GET', target, fields, body: '' })).status, 401, target)
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    t.equal((await knock(door.port, { method, target: '/', fields, body: '' })).status, 401, method)
  }
  t.equal((await knock(door.port, forge(door, { method: 'POST', target: '/', body: '{}' }))).status, 404)
})

t.test('the page loads nothing that is not there, and nothing from elsewhere', async (t) => {
  for (const name of files) {
    const text = readFileSync(new URL(name, FOLDER), 'utf8')
    const named = [...text.matchAll(/(?:from '|src="|href="|@import |url\()(?!data:|#)([^'")]+)/g)].map(
      ([, path = '']) => path,
    )
    for (const path of named) {
      t.match(path, /^(\.|\/dashboard)\/[a-z-]+\.(js|css)$/, `${name} names ${path}`)
      t.ok(files.includes(path.split('/').at(-1) ?? ''), `${name} names ${path}`)
    }
  }
})
