// Appends until the system refuses, then says what became of the journal; run under a limit of the file size.
import { readFileSync } from 'node:fs'
import { Journal } from '../../src/journal/file.ts'

const [file = ''] = process.argv.slice(2)
const journal = await Journal.open(file)
const event = { event: 'alarm', actor: 'ops', padding: 'x'.repeat(700) } as const
let refused: unknown
while (!refused) await journal.append(event).catch((error) => (refused = error))
const last = journal.records.at(-1)?.seq
const small = await journal.append({ event: 'alarm', actor: 'ops' }).catch((error) => error)
console.log(
  JSON.stringify({
    code: (refused as { code?: string }).code,
    sentence: String(refused),
    last,
    endsWhole: readFileSync(file).at(-1) === 10,
    small: small.seq ?? small.code,
  }),
)
