// The vectors in this repository are copies, so that it stands alone; beside the originals they must not differ from them.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const copies = join(import.meta.dirname, '..', 'vectors')
const originals = join(import.meta.dirname, '..', '..', '..', 'shared', 'vectors')

t.test(
  'each vector file equals its original',
  { skip: existsSync(originals) ? false : 'no originals here' },
  async (t) => {
    const names = globSync('*.json', { cwd: copies })
    t.ok(names.includes('scenarios.json'))
    for (const name of names) {
      const [copy, original] = [copies, originals].map((dir) => readFileSync(join(dir, name), 'utf8'))
      t.ok(copy === original, name)
    }
  },
)
