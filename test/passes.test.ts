// Passes: for whom, until when and under which number they are good, and the secret behind them.
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { makePass, passKey, passSecret, secondsLeft } from '../src/passes.ts'

const SECRET = Buffer.alloc(32, 1)
const NOW_MS = 1_800_000_000_000
const KEY = passKey(SECRET, 'shop', 0)

t.test('a pass is good until its second, for one service under one number', async (t) => {
  const pass = makePass(KEY, NOW_MS + 60_500)
  t.equal(secondsLeft(pass, KEY, NOW_MS), 60)
  t.equal(secondsLeft(pass, KEY, NOW_MS + 59_999), 1)
  t.equal(secondsLeft(pass, KEY, NOW_MS + 60_000), 0)
  t.equal(secondsLeft(pass, passKey(SECRET, 'shop', 1), NOW_MS), 0)
  t.equal(secondsLeft(pass, passKey(SECRET, 'sho', 0), NOW_MS), 0)
  t.equal(secondsLeft(pass, passKey(Buffer.alloc(32, 2), 'shop', 0), NOW_MS), 0)
})

t.test('whatever is changed in a pass makes it void', async (t) => {
  const pass = makePass(KEY, NOW_MS + 60_000)
  const changed = [...pass].map((character, at) => {
    const other = character === '1' ? '2' : '1'
    return `${pass.slice(0, at)}${other}${pass.slice(at + 1)}`
  })
  // The last character of 32 bytes in base64url holds two bits that count for nothing.
  for (const one of changed.slice(0, -1)) t.equal(secondsLeft(one, KEY, NOW_MS), 0, one)
  const strange = ['', '.', pass.slice(1), `0${pass}`, `${pass}A`, pass.slice(0, -1), ` ${pass}`, `+${pass}`]
  for (const one of strange) t.equal(secondsLeft(one, KEY, NOW_MS), 0, one)
})

t.test('the secret is made once, for its owner alone, and nothing else is taken for it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-passes-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'preview.secret')
  const secret = await passSecret(folder)
  t.equal(secret.length, 32)
  t.equal((await stat(file)).mode & 0o777, 0o600)
  t.same(await passSecret(folder), secret)
  await writeFile(file, 'short')
  await t.rejects(passSecret(folder), { code: 'state_dir_unusable', message: /is not what slotgate wrote/ })
  await t.rejects(passSecret(join(folder, 'none')), { code: 'state_dir_unusable' })
})
