// The contract as JSON Schema and the contract as it is parsed: both say the same of the same bodies.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import Fastify from 'fastify'
import t from 'tap'
import { parseStatus, readFields } from '../src/contract.ts'

type Validate = (body: unknown) => boolean

const text = readFileSync(new URL('../contract.schema.json', import.meta.url), 'utf8')
const { $schema: draft, ...schema } = JSON.parse(text)

/** fastify's own validator reads an older draft; nothing in the schema differs between the two but its name. */
async function compile(): Promise<Validate> {
  const app = Fastify({ ajv: { customOptions: { coerceTypes: false, removeAdditional: false } } })
  const compiled = new Promise<Validate>((resolve) => {
    app.get('/', async (request) => {
      const validate = request.compileValidationSchema(schema)
      resolve((body) => validate(body) === true)
      return ''
    })
  })
  await app.inject('/')
  return compiled
}

const validate = await compile()
const isParsed = (body: string): boolean => parseStatus(body).ok
const isValid = (body: string): boolean => validate(JSON.parse(body))

const GOOD = {
  current_schema_version: 42,
  code_min_schema_version: 41,
  code_max_schema_version: 43,
  compatible: true,
}
const FULL = {
  ...GOOD,
  pending_migrations: ['043_add_invoice_notes.sql'],
  dirty: false,
  migration_running: false,
  database_id: 'a',
  schema_digest: 'b',
  boot_id: 'c',
  release: 'r42',
  problems: [{ code: 'hole', sentence: 'There is one.', more: 1 }],
  applied_not_required: ['042_x.sql'],
}

t.test('it names its draft and has an id', async (t) => {
  t.equal(draft, 'https://json-schema.org/draft/2020-12/schema')
  t.equal(schema.$id, 'urn:slotgate:contract:schema-status')
})

t.test('its fields are those that are read, and require the same', async (t) => {
  const fields = readFields({})
  t.strictSame(Object.keys(schema.properties).toSorted(), fields.map(({ field }) => field).toSorted())
  t.strictSame(
    schema.required.toSorted(),
    fields.flatMap(({ field, required }) => (required ? [field] : [])).toSorted(),
  )
})

t.test('good statuses are good to both', async (t) => {
  const timestamp = { ...GOOD, code_max_schema_version: 20261122120000 }
  for (const body of [GOOD, FULL, timestamp, { ...GOOD, current_schema_version: 0, weather: null }]
    .map((each) => JSON.stringify(each))
    .concat(JSON.stringify(GOOD).replace(':42,', ':42.0,'))) {
    t.ok(isParsed(body), body)
    t.ok(isValid(body), body)
  }
})

const WRONG: string[] = [
  ...['[]', 'null', '"fine"', '42', 'true', '{}'],
  ...Object.keys(GOOD).map((field) => JSON.stringify({ ...GOOD, [field]: undefined })),
  ...Object.keys(FULL).map((field) => JSON.stringify({ ...FULL, [field]: null })),
  ...['"042"', '42.5', '-1', '1e400', '9007199254740992', 'true', '[42]'].map((version) =>
    JSON.stringify(GOOD).replace(':42,', `:${version},`),
  ),
  ...['"true"', '1', '"no"'].map((word) => JSON.stringify(FULL).replace('"dirty":false', `"dirty":${word}`)),
  JSON.stringify({ ...GOOD, pending_migrations: [43] }),
  JSON.stringify({ ...GOOD, applied_not_required: 'none' }),
  JSON.stringify({ ...GOOD, problems: ['bad'] }),
  JSON.stringify({ ...GOOD, problems: [{ sentence: 'no code' }] }),
  JSON.stringify({ ...GOOD, problems: [{ code: 1 }] }),
]

t.test('what is wrong is wrong to both', async (t) => {
  for (const body of WRONG) {
    t.notOk(isParsed(body), body)
    t.notOk(isValid(body), body)
  }
})

t.test('any value in any field is judged alike by both', async () => {
  const field = fc.constantFrom(...Object.keys(FULL))
  const nearly = fc.oneof(
    fc.jsonValue(),
    fc.integer(),
    fc.array(fc.oneof(fc.string(), fc.integer())),
    fc.array(fc.dictionary(fc.constantFrom('code', 'sentence', 'x'), fc.jsonValue())),
  )
  fc.assert(
    fc.property(field, nearly, (name, value) => {
      const body = JSON.stringify({ ...FULL, [name]: value })
      return isParsed(body) === isValid(body)
    }),
    { numRuns: 2_000 },
  )
})
