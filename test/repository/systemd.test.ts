// Holds the unit for systemd to what systemd says of it, and to the config that people begin with.
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

const run = promisify(execFile)
const unit = await readFile(new URL('../../deploy/slotgate.service', import.meta.url), 'utf8')
const systemd = await run('systemd-analyze', ['--version']).then(
  () => true,
  () => false,
)
const skip = systemd ? false : 'there is no systemd-analyze'

/** What 0 (nothing is open) to 100 (everything is) the service may come to at most. */
const MOST_EXPOSED = 25

/** Where systemd finds a program that is there. */
async function installed(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-unit-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'slotgate.service')
  await writeFile(file, unit.replaceAll('/usr/local/bin/slotgate', process.execPath))
  return file
}

t.test('systemd takes the unit as it is', { skip }, async (t) => {
  const { stdout, stderr } = await run('systemd-analyze', ['verify', await installed(t)])
  t.equal(stdout + stderr, '')
})

t.test('the service may do little besides', { skip }, async (t) => {
  const args = ['security', '--offline=true', `--threshold=${MOST_EXPOSED}`, '--no-pager', await installed(t)]
  const { stdout } = await run('systemd-analyze', args)
  t.match(stdout, /Overall exposure level/)
})

t.test('a crash of slotgate ends no release, and its stop has more time than its requests', async (t) => {
  t.match(unit, /^KillMode=process$/m)
  t.match(unit, /^OOMPolicy=continue$/m)
  const [, seconds] = /^TimeoutStopSec=(\d+)s$/m.exec(unit) ?? []
  t.ok(Number(seconds) > 30, 'longer than the default of `drain.within`')
})
