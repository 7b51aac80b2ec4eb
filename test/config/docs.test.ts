// Whether docs/config.md and the table of keys in the code say the same, both ways, and its sample holds.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { checkConfig } from '../../src/config/check.ts'
import type { Key, Keys, Kind } from '../../src/config/kinds.ts'
import { CONFIG } from '../../src/config/schema.ts'

const docs = readFileSync(new URL('../../docs/config.md', import.meta.url), 'utf8')

function defaultOf({ fallback, kind }: Key<unknown>): string {
  if (fallback === undefined) return 'required'
  if (fallback === null || kind.name.startsWith('map')) return ''
  return typeof fallback === 'string' ? `\`${fallback}\`` : '`[]`'
}

/** One row of the docs for each key, and for the keys below it. */
function rowsOf(keys: Keys, above: string): string[] {
  return Object.entries(keys).flatMap(([name, key]) => [
    `| \`${above}${name}\` | ${key.kind.name} | ${defaultOf(key)} | ${key.about} |`,
    ...rowsBelow(key.kind, `${above}${name}`),
  ])
}

function rowsBelow(kind: Kind<unknown>, at: string): string[] {
  if (kind.keys) return rowsOf(kind.keys, `${at}.`)
  if (!kind.each?.keys) return []
  return rowsOf(kind.each.keys, kind.name.startsWith('list') ? `${at}[].` : `${at}.NAME.`)
}

t.test('every key is in the docs as it is in the code, and the docs name no other', async (t) => {
  const inDocs = docs.split('\n').filter((line) => line.startsWith('| `'))
  t.strictSame(inDocs, rowsOf(CONFIG.keys ?? {}, ''))
})

t.test('the sample of the docs is a config without problems', async (t) => {
  const [, sample = ''] = /```yaml\n([\s\S]*?)```/.exec(docs) ?? []
  const { problems } = checkConfig(sample, {
    file: 'proxy.config.yaml',
    env: { DATABASE_URL: 'postgres://db/app' },
  })
  t.strictSame(problems, [])
})

t.test('the top-level config is one without problems, once its variables are set', async (t) => {
  const text = readFileSync(new URL('../../proxy.config.yaml', import.meta.url), 'utf8')
  const env = {
    DATABASE_URL: 'postgres://db/app',
    DEMO_PUBLIC_KEY: 'JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs',
  }
  t.strictSame(checkConfig(text, { file: 'proxy.config.yaml', env }).problems, [])
})
