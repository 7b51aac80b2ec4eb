// The secrets of an env_file: what becomes of them where the file and the process that was given it part ways.
import { readdir, rm, writeFile } from 'node:fs/promises'
import t from 'tap'
import { BOOT, processDriverWorld } from '../support/process-driver.ts'

/** Says its password at each request. */
const SAYS = `
  const { createServer } = require('node:http')
  const say = (_, res) => (console.log('it is ' + process.env.PASSWORD), res.end())
  for (const port of [process.env.PORT, process.env.INTERNAL_PORT]) createServer(say).listen(port, process.env.HOST)
`

t.test(
  'what a process was given stays hidden when slotgate has started again and the file is another',
  async (t) => {
    const { journal, lines, envFile, createDriver } = await processDriverWorld(t, SAYS)
    await writeFile(envFile, 'PASSWORD=correct-horse\n')
    const booted = await createDriver({ envFile }).boot(BOOT)
    const staged = { service: 'invoices', slot: 'blue', release: 'r1', boot_id: booted.bootId ?? '' } as const
    await journal.append({ ...staged, event: 'staged', actor: 'ops' })
    booted.letGo()
    await rm(envFile)
    const found = await createDriver({ envFile }).find('r1', 'blue')
    t.teardown(() => found?.stop(500))
    t.equal(found?.pid, booted.pid)
    const from = lines.length
    const address = found?.publicAddresses[0]
    await fetch(`http://127.0.0.1:${address?.kind === 'tcp' && address.port}/`)
    while (!found?.output().some((line) => line.startsWith('it is'))) await new Promise(setImmediate)
    while (lines.length === from) await new Promise(setImmediate)
    t.match(lines.slice(from).join('\n'), /it is \$\{PASSWORD\}/)
    t.notMatch(lines.join('\n'), /correct-horse/)
  },
)

const skip = process.platform === 'linux' ? false : 'descriptors are counted in /proc'

t.test(
  'what the system cannot start is refused by its code, and leaves no descriptor open',
  { skip },
  async (t) => {
    const { envFile, createDriver } = await processDriverWorld(t, SAYS)
    const driver = createDriver({ envFile })
    await writeFile(envFile, `LONG=${'x'.repeat(200_000)}\n`)
    const open = async () => (await readdir('/proc/self/fd')).length
    await t.rejects(driver.boot(BOOT), { code: 'target_boot_failed', facts: { detail: /E2BIG/ } })
    const before = await open()
    for (let n = 0; n < 10; n++) await t.rejects(driver.boot(BOOT), { code: 'target_boot_failed' })
    t.equal(await open(), before)
  },
)
