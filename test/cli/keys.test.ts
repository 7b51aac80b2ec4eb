// Whether a generated key is kept safe, fits the config, and signs calls that slotgate accepts.
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readKeyFile } from '../../src/cli/keyfile.ts'
import { checkConfig } from '../../src/config/check.ts'
import { loadConfig } from '../../src/config/load.ts'
import { openDoor } from '../admin/door.ts'
import { newFolder, run } from './terminal.ts'

const SERVICE = 'services:\n  app:\n    releases: { command: [node] }\n'

t.test('a new key', async (t) => {
  for (const algorithm of ['ed25519', 'hmac-sha256']) {
    await t.test(`of ${algorithm} opens the door once its entry is in the config`, async (t) => {
      const folder = newFolder(t)
      const file = join(folder, 'ops.key')
      const { code, stdout } = await run([
        'keys',
        'generate',
        '--id',
        'ops',
        '--algorithm',
        algorithm,
        '--out',
        file,
      ])
      t.equal(code, 0)
      t.equal(statSync(file).mode & 0o777, 0o600)
      t.match(stdout, file)
      const config = join(folder, 'proxy.config.yaml')
      writeFileSync(config, `${SERVICE}admin:\n  keys:\n${stdout.replace(/^/gm, '    ')}\n`)
      const { keys } = loadConfig(config, {}).admin
      t.match(keys, [{ id: 'ops', algorithm, allow: ['read', 'stage', 'promote', 'rollback', 'traffic'] }])
      const { url } = await openDoor(t, { keys })
      t.match(await run(['status', '--admin', url, '--key', file]), { code: 0 })
    })
  }

  await t.test('is made as it is asked for, and told as data', async (t) => {
    const file = join(newFolder(t), 'agent.key')
    const argv = ['keys', 'generate', '--json', '--id', 'agent', '--allow', 'read,promote', '--out', file]
    const { code, stdout, stderr } = await run(argv)
    t.strictSame({ code, stderr }, { code: 0, stderr: '' })
    const answer = JSON.parse(stdout)
    t.match(answer, { file, key: { id: 'agent', algorithm: 'ed25519', allow: ['read', 'promote'] } })
    t.equal(Buffer.from(answer.key.public_key, 'base64').length, 32)
    t.notMatch(stdout, 'PRIVATE')
  })

  await t.test('with a shared secret names the file and never the secret', async (t) => {
    const file = join(newFolder(t), 'bot.key')
    const { stdout } = await run([
      'keys',
      'generate',
      '--json',
      '--id',
      'bot',
      '--algorithm',
      'hmac-sha256',
      '--out',
      file,
    ])
    t.equal(JSON.parse(stdout).key.secret_file, file)
    t.notOk(stdout.includes(readFileSync(file, 'utf8').trim()))
  })

  await t.test('overwrites nothing', async (t) => {
    const file = join(newFolder(t), 'ops.key')
    writeFileSync(file, 'precious')
    const ended = await run(['keys', 'generate', '--id', 'ops', '--out', file])
    t.match(ended, { code: 1, stdout: '', stderr: `${file} exists already and is not overwritten.` })
    t.equal(readFileSync(file, 'utf8'), 'precious')
  })

  await t.test('needs a name, an algorithm and permissions that exist', async (t) => {
    const wrong = (...argv: string[]) =>
      run(['keys', 'generate', '--out', join(newFolder(t), 'x.key'), ...argv])
    t.match(await wrong(), { code: 2, stderr: 'The key needs a name: --id NAME.' })
    t.match(await wrong('--id', 'a b'), { code: 2, stderr: '--id must be 1 to 64 letters' })
    t.match(await wrong('--id', 'slotgate'), {
      code: 2,
      stderr: '--id is what the journal calls slotgate itself.',
    })
    t.match(await wrong('--id', 'a', '--algorithm', 'rsa'), {
      code: 2,
      stderr: '--algorithm must be ed25519',
    })
    t.match(await wrong('--id', 'a', '--allow', 'read,all'), { code: 2, stderr: '--allow takes read, stage' })
  })
})

t.test('a key file', async (t) => {
  const folder = newFolder(t)
  const write = (name: string, content: string, mode = 0o600) => {
    const file = join(folder, name)
    writeFileSync(file, content, { mode })
    return file
  }
  const secret = Buffer.alloc(32, 3).toString('base64')

  await t.test('gives its name to the key, unless another id is said', async (t) => {
    const file = write('night-shift.key', `${secret}\n`)
    t.equal(readKeyFile(file).key.id, 'night-shift')
    t.equal(readKeyFile(file, 'ops').key.id, 'ops')
  })

  await t.test('that others can read is warned of', async (t) => {
    t.equal(readKeyFile(write('open.key', secret, 0o644)).isOpenToOthers, true)
    t.equal(readKeyFile(write('closed.key', secret)).isOpenToOthers, false)
  })

  await t.test('that cannot sign is refused with the reason', async (t) => {
    const refused = (file: string, message: RegExp) =>
      t.throws(() => readKeyFile(file), { exitCode: 2, message })
    refused(join(folder, 'schlüssel.key'), /The key id "schlüssel" must be 1 to 64 letters/)
    refused(join(folder, 'nope.key'), /cannot be read: ENOENT/)
    refused(write('empty.key', ''), /neither PEM nor base64/)
    refused(write('short.key', 'c2hvcnQ='), /at least 32 random bytes/)
    refused(
      write('broken.key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'),
      /no private key in PEM/,
    )
  })
})

t.test('the entry of a key is YAML, whatever its id', async (t) => {
  const file = join(newFolder(t), 'x.key')
  const { stdout } = await run(['keys', 'generate', '--id', '1e3', '--out', file])
  const text = `${SERVICE}admin:\n  keys:\n${stdout.replace(/^/gm, '    ')}\n`
  t.equal(checkConfig(text, { file: 'x.yaml', env: {} }).config?.admin.keys[0]?.id, '1e3')
})
