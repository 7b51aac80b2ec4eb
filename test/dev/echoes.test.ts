// Which changes are the app's own, told from those of a person by when they come.
import t from 'tap'
import { Echoes } from '../../src/dev/echoes.ts'
import type { Change } from '../../src/dev/watch.ts'

const change = (path: string): Change => ({ path, kind: 'change' })
const add = (path: string): Change => ({ path, kind: 'add' })
const unlink = (path: string): Change => ({ path, kind: 'unlink' })

/** One that has seen an app write these at six boots in a row. */
function after(written: (boot: number) => Change[]): { echoes: Echoes; said: string[] } {
  const said: string[] = []
  const echoes = new Echoes((text) => said.push(text))
  for (let boot = 1; boot <= 6; boot++) echoes.sift(written(boot), true)
  return { echoes, said }
}

t.test('a file that changes at each boot is passed over for good', async (t) => {
  const { echoes, said } = after(() => [change('db')])
  t.equal(said.length, 1)
  t.match(said[0], 'db changes whenever the app boots')
  t.strictSame(echoes.sift([change('db'), change('server.js')], false), ['server.js'])
})

t.test('of new files at each boot the folder is named, and how to ignore it', async (t) => {
  const { echoes, said } = after((boot) => [add(`tmp/${boot}`), unlink(`tmp/${boot - 1}`)])
  t.equal(said.length, 1)
  t.match(said[0], /New files come in tmp\/ whenever the app boots, such as tmp\/6.*: tmp\/ in .gitignore/)
  t.strictSame(echoes.sift([add('tmp/7'), change('tmp/7'), unlink('tmp/6')], true), [])
  t.strictSame(echoes.sift([unlink('tmp/7')], false), [], 'what it clears away later')

  await t.test('what a person saves counts', async (t) => {
    t.strictSame(echoes.sift([change('server.js'), add('tmp/8')], true), ['server.js'])
    t.strictSame(echoes.sift([change('tmp/old'), add('new.js')], true), ['tmp/old', 'new.js'])
    t.strictSame(echoes.sift([change('tmp/6')], false), ['tmp/6'], 'while nothing boots')
  })
})

t.test('in the folder itself, which nobody ignores', async (t) => {
  const { said } = after((boot) => [add(`${boot}.tmp`)])
  t.match(said, [/New files come here .* such as 6.tmp.*: a pattern of their names in .gitignore/])
})

t.test('both at once', async (t) => {
  const { echoes, said } = after((boot) => [add(`tmp/${boot}`), change('db')])
  t.match(said, [/^db changes/])
  t.strictSame(echoes.sift([add('tmp/7'), change('db')], true), [])
  t.match(said, [/^db changes/, /^New files come in tmp/])
})

t.test("saves that do not come at each boot are nobody's echo", async (t) => {
  const said: string[] = []
  const echoes = new Echoes((text) => said.push(text))
  for (let save = 1; save <= 20; save++) {
    const isBooting = save % 5 !== 0
    t.strictSame(echoes.sift([change('a.js'), add(`${save}.js`)], isBooting), ['a.js', `${save}.js`])
  }
  t.strictSame(said, [])
})
