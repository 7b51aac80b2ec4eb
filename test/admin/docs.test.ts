// docs/admin.md: its worked example verifies, its shell script works, and it has every call and every code of the door.
import { execFile } from 'node:child_process'
import { createPrivateKey, sign } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { NonceStore } from '../../src/admin/nonces.ts'
import { verificationKey, verifyRequest } from '../../src/admin/signature.ts'
import { parsePublicKey } from '../../src/config/keys.ts'
import { ERRORS } from '../../src/errors.ts'
import { openDoor } from './door.ts'

const run = promisify(execFile)
const docs = await readFile(new URL('../../docs/admin.md', import.meta.url), 'utf8')
const block = (language: string): string =>
  new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\n\`\`\``).exec(docs)?.[1] ?? ''

t.test('the example signs its base to its signature', async (t) => {
  const signature = sign(null, Buffer.from(block('base')), createPrivateKey(block('pem')))
  t.match(block('http'), `Signature: slotgate=:${signature.toString('base64')}:`)
})

t.test('the example is accepted from the key of its config entry', async (t) => {
  const [head = '', body = ''] = block('http').split('\n\n')
  const [first = '', ...lines] = head.split('\n')
  const [method = '', target = ''] = first.split(' ')
  const fields = lines.map((line) => {
    const at = line.indexOf(': ')
    return { name: line.slice(0, at).toLowerCase(), value: line.slice(at + 2) }
  })
  const material = parsePublicKey(/public_key: "([^"]+)"/.exec(block('yaml'))?.[1] ?? '') ?? Buffer.alloc(0)
  const key = verificationKey({ id: 'ops', algorithm: 'ed25519', material, allow: [] })
  const created = Number(/created=(\d+)/.exec(head)?.[1])
  const { nonce } = await verifyRequest(
    { method, target, scheme: 'http', fields, body: Buffer.from(body) },
    { keys: new Map([['ops', key]]), nonces: new NonceStore(), acceptAfterS: 0, now: () => created * 1000 },
  )
  t.equal(nonce, 'eGFtcGxlLW9mLWEtbm9uY2U')
  t.match(head, `Content-Length: ${body.length}`)
})

const canRun = await Promise.all([
  run('openssl', ['version']).then(({ stdout }) => /^OpenSSL ([3-9]|\d\d)/.test(stdout)),
  run('curl', ['--version']).then(() => true),
]).then(
  (found) => found.every(Boolean),
  () => false,
)

t.test('the shell script deploys', { skip: canRun ? false : 'needs OpenSSL 3 and curl' }, async (t) => {
  const door = await openDoor(t)
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-docs-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'ops.key'), `${block('pem')}\n`, { mode: 0o600 })
  const script = block('sh').replace('127.0.0.1:8081', door.authority)
  const { stdout } = await run('sh', ['-ec', script], { cwd: folder })
  t.match(JSON.parse(stdout), { operation: 'deploy', generation: 18 })
  t.same(door.calls, [{ call: 'deploy', args: ['invoices', 'r42', { actor: 'ops' }] }])
})

t.test('every code of the door is in the table, and no code that does not exist', async (t) => {
  const table = /\| status \| code \| when \|\n[\s\S]*?\n\n/.exec(docs)?.[0] ?? ''
  const rows = table
    .split('\n')
    .flatMap((row) =>
      [...row.matchAll(/`([a-z_]+_[a-z_]+|unsigned|replayed)`/g)].map(([, code = '']) => ({ row, code })),
    )
  const documented = rows.map(({ code }) => code)
  for (const [code, { stage }] of Object.entries(ERRORS)) {
    if (stage === 'admin') t.ok(documented.includes(code), `${code} is documented`)
  }
  for (const { row, code } of rows.filter((entry) => entry.code !== 'request_id')) {
    const entry = Object.entries(ERRORS).find(([name]) => name === code)?.[1]
    t.equal(entry?.status, Number(/\d+/.exec(row)?.[0]), code)
  }
})
