// What the repository holds works on any machine: no registry's host name, no path of the machine it was written on.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..', '..')
const listed = spawnSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' })
const files = listed.stdout?.split('\0').filter((file) => file !== '') ?? []
const skip = listed.status === 0 ? false : 'not a git clone'

const registry = process.env.npm_config_registry
const traces = [
  ...(registry ? [new RegExp(new URL(registry).hostname.replaceAll('.', '\\.'))] : []),
  /\bregistry\.[a-z0-9-]+\.[a-z]{2,}/,
  /(?<![\w.])\/(root|work|Users)\/\w/,
  /(?<![\w.])\/home\/(?!node\b|slotgate\b)\w/,
]

t.test('no file names a registry or a path of a machine', { skip }, async (t) => {
  t.ok(files.includes('package-lock.json'))
  for (const file of files) {
    const text = readFileSync(join(root, file), 'utf8')
    for (const trace of traces)
      t.equal(trace.exec(text)?.[0], undefined, `${file} has nothing like ${trace.source}`)
  }
})

t.test('the lockfile says what a package is, not where it was fetched', async (t) => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  for (const [path, entry] of Object.entries<{ resolved?: string; integrity?: string }>(lock.packages)) {
    t.equal(entry.resolved, undefined, path)
    if (path !== '') t.match(entry.integrity, /^sha512-/, path)
  }
})
